"""The way of one request: read it, run the turn, write the answer. One function per route."""

import asyncio
import secrets
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from agent import runtime, web
from agent.conversation_routes import begin, conversation, file, files
from agent.conversation_turn import Asked
from agent.errors import ConversationNotFoundError
from agent.events import Event
from agent.health import readiness
from agent.schemas import ChatRequest, HealthSchema
from agent.server_sent_events import EventStream
from agent.turn import run_turn

if TYPE_CHECKING:
    from agent.agui import Run

__all__ = [
    "agui",
    "chat",
    "completions",
    "conversation",
    "file",
    "files",
    "health_live",
    "health_ready",
    "models",
    "openapi",
]


async def chat(request: Request) -> Response:
    """`GET /api/chat?input=`: one turn without memory; `POST /api/chat`: also of a conversation."""
    return await web.answer(request, {"GET": _chat_by_query, "POST": _chat_by_json})


async def agui(request: Request) -> Response:
    """`POST /api/agui`: a run, as AG-UI front ends ask for it."""
    return await web.answer(request, {"POST": _run})


async def completions(request: Request) -> Response:
    """`POST /api/v1/chat/completions`: for OpenAI's clients."""
    await _load("agent.openai_routes")
    from agent import openai_routes

    return await openai_routes.completions(request)


async def models(request: Request) -> Response:
    """`GET /api/v1/models`: likewise."""
    await _load("agent.openai_routes")
    from agent import openai_routes

    return await openai_routes.models(request)


async def openapi(request: Request) -> Response:
    """`GET /api/openapi.json`: all of this, for programs."""
    return await web.answer(request, {"GET": _describe})


async def health_live(request: Request) -> Response:
    """`GET /api/health/live`: this worker answers."""
    return await web.answer(request, {"GET": _live})


async def health_ready(request: Request) -> Response:
    """`GET /api/health/ready`: it has all that a turn needs."""
    return await web.answer(request, {"GET": _ready})


async def _describe(_: Request) -> Response:
    await _load("agent.openapi")
    from agent.openapi import document

    return Response(await asyncio.to_thread(document), media_type="application/json")


async def _live(_: Request) -> Response:
    return web.json(HealthSchema(status="alive", checks={}))


async def _ready(_: Request) -> Response:
    health = await readiness(await runtime.get())
    return web.json(health, status=200 if health.status == "ready" else 503)


async def _chat_by_query(request: Request) -> Response:
    opened = await runtime.get()
    return await _chat(request, opened, web.read_query(request, opened.input_max_chars))


async def _chat_by_json(request: Request) -> Response:
    opened = await runtime.get()
    return await _chat(request, opened, await web.read_json(request, opened.input_max_chars))


async def _chat(request: Request, opened: runtime.Runtime, question: ChatRequest) -> Response:
    stream = web.wants_events(request)
    if question.conversation_id is None:
        conversation_id, turn = None, run_turn(opened.turns, question.input, stream=stream)
    else:
        wanted = None if question.conversation_id == "new" else question.conversation_id
        asked = Asked(question.input, stream=stream)
        begun = await begin(request, opened, wanted, asked)
        conversation_id, turn = begun.conversation_id, begun.events
    if stream:
        thread_id = conversation_id or secrets.token_hex(16)
        return await _as_events(request, turn, thread_id, secrets.token_hex(16), conversation_id)
    answer = await web.as_json(request, turn, conversation_id)
    # The next caller may want events, and should not have to wait for them.
    if "agent.agui" not in sys.modules:
        asyncio.get_running_loop().run_in_executor(None, import_module, "agent.agui")
    return answer


async def _run(request: Request) -> Response:
    opened = await runtime.get()
    body = await web.read_body(request, web.HISTORY_MAX_BYTES)
    await _load("agent.agui")
    from agent.agui import read_run

    run = read_run(body, opened.input_max_chars)
    if (kept := await _kept_turn(request, opened, run)) is not None:
        return await _as_events(request, kept, run.thread_id, run.run_id, run.thread_id)
    turn = run_turn(opened.turns, run.question, history=run.history, instructions=run.instructions)
    return await _as_events(request, turn, run.thread_id, run.run_id)


async def _kept_turn(
    request: Request, opened: runtime.Runtime, run: "Run"
) -> AsyncGenerator[Event] | None:
    """The turn, if the thread is a conversation of ours; a front end makes up ids of its own."""
    if not opened.keeps_conversations:
        return None
    asked = Asked(run.question, run.instructions, stream=True)
    with suppress(ConversationNotFoundError):
        return (await begin(request, opened, run.thread_id, asked)).events
    return None


async def _as_events(
    request: Request,
    turn: AsyncGenerator[Event],
    thread_id: str,
    run_id: str,
    conversation_id: str | None = None,
) -> Response:
    await _load("agent.agui")
    from agent.agui import AguiEncoder

    encoder = AguiEncoder(
        thread_id,
        run_id,
        operation_id=web.operation_id(request),
        conversation_id=conversation_id,
    )
    return EventStream(turn, encoder)


async def _load(module: str) -> None:
    """Import what not every worker needs, where it does not hold up the other requests."""
    await asyncio.to_thread(import_module, module)
