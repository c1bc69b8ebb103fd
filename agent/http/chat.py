"""`/api/chat`: a question in, its answer as JSON or as events out."""

import secrets
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from agent.http.bodies import Chat, json_response, read_chat, read_query, wants_events
from agent.http.disconnect import cancel_on_disconnect
from agent.http.dispatch import Route, load, preload
from agent.http.pictures import fetched
from agent.http.schemas import ChatAnswer
from agent.http.turns import start_conversation_turn
from agent.memory import Share
from agent.runtime import Runtime, get_runtime
from agent.turns.result import TurnEvents, collect
from agent.turns.turn import stateless_turn


async def _get(request: Request) -> Response:
    runtime = await get_runtime()
    chat = read_query(request, runtime.input_max_chars)
    with runtime.memory.share() as share:
        return await _answer(request, runtime, chat, share)


async def _post(request: Request) -> Response:
    runtime = await get_runtime()
    with runtime.memory.share() as share:
        chat = await read_chat(request, share, runtime.input_max_chars)
        return await _answer(request, runtime, chat, share)


async def _answer(request: Request, runtime: Runtime, chat: Chat, share: Share) -> Response:
    stream = wants_events(request)
    agui = await load("agui") if stream else None
    turn_request = replace(await fetched(chat.turn, runtime.fetch_picture), stream=stream)
    conversation_id: str | None = None
    events: TurnEvents
    if chat.conversation_id is None:
        events = stateless_turn(runtime.turns, turn_request)
    else:
        events = started = await start_conversation_turn(
            request, runtime, chat.conversation_id, turn_request, share
        )
        conversation_id = started.conversation_id
    if agui:
        thread_id, run_id = conversation_id or secrets.token_hex(16), secrets.token_hex(16)
        response: Response = agui.event_stream(
            request, events, share, thread_id, run_id, conversation_id
        )
        return response
    async with aclosing(events):
        result = await cancel_on_disconnect(request.receive, collect(events))
    # The next caller may want events, and should not have to wait for their module.
    preload("agui")
    return json_response(ChatAnswer.of(result, conversation_id))


ROUTES: Final = {"chat": Route({"GET": _get, "POST": _post})}
