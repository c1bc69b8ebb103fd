"""The way of one request: read it, run the turn, write the answer. One function per route."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from importlib import import_module

from starlette.requests import Request
from starlette.responses import Response

from agent import runtime, web
from agent.events import Event
from agent.schemas import ChatRequest
from agent.server_sent_events import EventStream
from agent.turn import run_turn

# Front ends send the whole thread with every run, figures and all.
HISTORY_MAX_BYTES = 16 * 1024 * 1024


async def chat(request: Request) -> Response:
    """`GET /api/chat?input=` and `POST /api/chat`: one turn without memory."""
    return await web.answer(request, {"GET": _chat_by_query, "POST": _chat_by_json})


async def agui(request: Request) -> Response:
    """`POST /api/agui`: a run, as AG-UI front ends ask for it."""
    return await web.answer(request, {"POST": _run})


async def _chat_by_query(request: Request) -> Response:
    opened = await runtime.get()
    return await _chat(request, opened, web.read_query(request, opened.input_max_chars))


async def _chat_by_json(request: Request) -> Response:
    opened = await runtime.get()
    return await _chat(request, opened, await web.read_json(request, opened.input_max_chars))


async def _chat(request: Request, opened: runtime.Runtime, question: ChatRequest) -> Response:
    turn = run_turn(opened.turns, question.input)
    if web.wants_events(request):
        return await _as_events(request, turn, secrets.token_hex(16), secrets.token_hex(16))
    answer = await web.as_json(request, turn)
    # The next caller may want events, and should not have to wait for them.
    asyncio.get_running_loop().run_in_executor(None, import_module, "agent.agui")
    return answer


async def _run(request: Request) -> Response:
    opened = await runtime.get()
    body = await web.read_body(request, HISTORY_MAX_BYTES)
    await _load_agui()
    from agent.agui import read_run

    run = read_run(body, opened.input_max_chars)
    turn = run_turn(opened.turns, run.question, history=run.history, instructions=run.instructions)
    return await _as_events(request, turn, run.thread_id, run.run_id)


async def _as_events(
    request: Request, turn: AsyncGenerator[Event], thread_id: str, run_id: str
) -> Response:
    await _load_agui()
    from agent.agui import AguiEncoder

    encoder = AguiEncoder(thread_id, run_id, operation_id=web.operation_id(request))
    return EventStream(turn, encoder)


async def _load_agui() -> None:
    """Import it where it does not hold up the other requests of this worker."""
    await asyncio.to_thread(import_module, "agent.agui")
