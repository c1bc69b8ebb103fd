"""The routes of OpenAI's clients: `/api/v1/chat/completions` and `/api/v1/models`."""

from contextlib import aclosing
from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from agent.http.bodies import HISTORY_MAX_BYTES, json_response, read_json
from agent.http.disconnect import cancel_on_disconnect
from agent.http.dispatch import Route
from agent.http.event_stream import EventStream
from agent.http.openai.answers import (
    ChunkEncoder,
    complete,
    error_body,
    model_named,
    models,
    read_completion,
    turn_request,
)
from agent.http.pictures import fetched
from agent.http.turns import start_conversation_turn
from agent.memory import Share
from agent.runtime import get_runtime
from agent.turns.result import TurnEvents
from agent.turns.turn import TurnRequest, stateless_turn

# `new`, or the id of a conversation that the app keeps; the answer has the id.
CONVERSATION_HEADER: Final = "x-conversation-id"


async def _complete(request: Request) -> Response:
    runtime = await get_runtime()
    model = runtime.turns.model.ai_model_id
    conversation_id = request.headers.get(CONVERSATION_HEADER)

    def read(body: bytearray) -> tuple[TurnRequest, bool]:
        completion = read_completion(body)
        options = completion.stream_options
        turn = turn_request(completion, model, runtime.input_max_chars, conversation_id)
        return turn, bool(options and options.include_usage)

    with runtime.memory.share() as share:
        turn, include_usage = await read_json(request, share, HISTORY_MAX_BYTES, read)
        if share.held_bytes:
            share.settle(turn.held_bytes)
        turn = await fetched(turn, runtime.fetch_picture)
        encoder = ChunkEncoder(model, include_usage=include_usage) if turn.stream else None
        if not conversation_id:
            return await _answer(
                request, stateless_turn(runtime.turns, turn), encoder, model, share
            )
        turn = replace(turn, history=(), earlier_pictures=())
        started = await start_conversation_turn(request, runtime, conversation_id, turn, share)
        response = await _answer(request, started, encoder, model, share)
        response.headers[CONVERSATION_HEADER] = started.conversation_id
        return response


async def _answer(
    request: Request, events: TurnEvents, encoder: ChunkEncoder | None, model: str, share: Share
) -> Response:
    if encoder:
        return EventStream(events, encoder, share.handed_on())
    async with aclosing(events):
        answer = await cancel_on_disconnect(request.receive, complete(events, model))
    return json_response(answer)


async def _models(_: Request) -> Response:
    runtime = await get_runtime()
    return json_response(models(runtime.turns.model.ai_model_id))


async def _model(request: Request) -> Response:
    runtime = await get_runtime()
    name = request.path_params["name"]
    return json_response(model_named(name, runtime.turns.model.ai_model_id))


ROUTES: Final = {
    "completions": Route({"POST": _complete}, error_body),
    "models": Route({"GET": _models}, error_body),
    "model": Route({"GET": _model}, error_body),
}
