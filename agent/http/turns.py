"""Starts a turn of a conversation for every API: finds its owner and its id."""

from starlette.requests import Request

from agent.conversations.owner import owner_of
from agent.conversations.turn import StartedTurn, start_turn
from agent.http.bodies import NEW_CONVERSATION
from agent.memory import Share
from agent.runtime import Runtime
from agent.turns.turn import TurnRequest


async def start_conversation_turn(
    request: Request,
    runtime: Runtime,
    conversation_id: str,
    turn_request: TurnRequest,
    share: Share,
) -> StartedTurn:
    """Start a turn of one of the caller's conversations.

    Args:
        request: of the caller.
        runtime: of the worker.
        conversation_id: NEW_CONVERSATION starts one.
        turn_request: without history.
        share: of the request; gets what the history takes.

    Raises:
        SettingsError: the app keeps no conversations.
        SignInRequiredError: callers must sign in, and this one has not.
        ConversationNotFoundError: the caller has no such conversation.
        ConversationBusyError: another turn holds it.
        AppBusyError: other requests have the memory.
    """
    return await start_turn(
        await runtime.conversations(),
        owner_of(request.headers, sign_in=runtime.sign_in),
        None if conversation_id == NEW_CONVERSATION else conversation_id,
        turn_request,
        share,
    )
