"""The way of one request: read it, run the turn, write the answer. One function per route."""

from starlette.requests import Request
from starlette.responses import Response

from agent import runtime, web
from agent.turn import run_turn


async def chat(request: Request) -> Response:
    """`GET /api/chat?input=` and `POST /api/chat`: one turn without memory."""
    return await web.answer(request, {"GET": _chat_by_query, "POST": _chat_by_json})


async def _chat_by_query(request: Request) -> Response:
    opened = await runtime.get()
    question = web.read_query(request, opened.input_max_chars)
    return await web.as_json(request, run_turn(opened.turns, question.input))


async def _chat_by_json(request: Request) -> Response:
    opened = await runtime.get()
    question = await web.read_json(request, opened.input_max_chars)
    return await web.as_json(request, run_turn(opened.turns, question.input))
