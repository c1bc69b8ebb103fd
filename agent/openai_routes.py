"""The routes of OpenAI's clients."""

from collections.abc import AsyncGenerator

from starlette.requests import Request
from starlette.responses import Response

from agent import openai_api, runtime, web
from agent.conversation_routes import begin
from agent.conversation_turn import Asked
from agent.events import Event
from agent.hang_ups import unless_hung_up
from agent.server_sent_events import EventStream
from agent.turn import run_turn

# `new`, or the id of a conversation that the app keeps; the answer has the id.
CONVERSATION_HEADER = "x-conversation-id"


async def completions(request: Request) -> Response:
    """`POST /api/v1/chat/completions`: one turn; the caller keeps or names the conversation."""
    return await web.answer(request, {"POST": _complete}, openai_api.error_body)


async def models(request: Request) -> Response:
    """`GET /api/v1/models`: the one model."""
    return await web.answer(request, {"GET": _list_models}, openai_api.error_body)


async def _complete(request: Request) -> Response:
    opened = await runtime.get()
    model = opened.turns.model.ai_model_id
    body = await web.read_body(request, web.HISTORY_MAX_BYTES)
    asked = openai_api.read_question(body, model, opened.input_max_chars)
    if wanted := request.headers.get(CONVERSATION_HEADER):
        kept = Asked(asked.text, asked.instructions, stream=asked.stream)
        begun = await begin(request, opened, None if wanted == "new" else wanted, kept)
        answer = await _answer(request, begun.events, asked, model)
        answer.headers[CONVERSATION_HEADER] = begun.conversation_id
        return answer
    turn = run_turn(
        opened.turns,
        asked.text,
        history=asked.history,
        instructions=asked.instructions,
        stream=asked.stream,
    )
    return await _answer(request, turn, asked, model)


async def _answer(
    request: Request, turn: AsyncGenerator[Event], asked: openai_api.Question, model: str
) -> Response:
    if asked.stream:
        encoder = openai_api.ChunkEncoder(model, include_usage=asked.include_usage)
        return EventStream(turn, encoder)
    return web.json(await unless_hung_up(request.receive, openai_api.complete(turn, model)))


async def _list_models(_: Request) -> Response:
    opened = await runtime.get()
    return web.json(openai_api.models(opened.turns.model.ai_model_id))
