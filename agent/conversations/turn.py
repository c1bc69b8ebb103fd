"""A turn of a conversation: alone in it, with its history, its session and its files.

A turn is stored whole once it has its answer. One that fails or that its caller abandons leaves the
conversation unchanged, except for what its code did in the session.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import field, replace
from datetime import UTC, datetime, timedelta
from sys import getsizeof
from typing import Final, Self

from agent.conversations.files import ConversationFiles, ConversationKey
from agent.conversations.history import trim_history
from agent.conversations.owner import Owner, pool_identifier
from agent.conversations.pictures import pictures_of
from agent.conversations.records import Conversation, Turn
from agent.conversations.store import ConversationStore, HeldConversation
from agent.conversations.timed import TimedStore
from agent.errors import AgentError
from agent.events import Event, TurnFailed, TurnFinished
from agent.frozen import frozen
from agent.memory import Share
from agent.messages import texts_of
from agent.session_pool.client import SessionsClient
from agent.telemetry.turns import TurnTelemetry
from agent.turns.result import TurnRecord
from agent.turns.session_files import TurnSession
from agent.turns.turn import TurnRequest, TurnServices, run_turn, with_terminal_event

# The part of a turn's time that is reserved for storing its answer.
STORE_RESERVE_S: Final = 5
STORE_RESERVE_SHARE: Final = 0.1
READERS_MAX: Final = 4
# A pool lets an idle session live for 300 s at least.
SESSION_LIVES: Final = timedelta(seconds=240)


@frozen
class ConversationServices:
    """The clients and settings that all conversations of this worker share.

    Attributes:
        store: where they are.
        turns: what every turn needs.
        history_max_chars: how much of a conversation the model reads again.
        reading: held while a history is read and written for a caller, which takes 40 MB at most.
    """

    store: ConversationStore
    turns: TurnServices
    history_max_chars: int
    reading: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(READERS_MAX))


class StartedTurn:
    """The events of a turn that holds its conversation until it is closed or has ended.

    Attributes:
        conversation_id: of the conversation, also of a new one.
    """

    def __init__(
        self, conversation_id: str, events: AsyncGenerator[Event], resources: AsyncExitStack
    ) -> None:
        self.conversation_id = conversation_id
        self._events = events
        self._resources = resources

    def __aiter__(self) -> Self:
        """The events, as they happen; the last one is `TurnFinished` or `TurnFailed`.

        The conversation is free before the last event is seen: a caller that asks the next question
        at once must not find it busy.
        """
        return self

    async def __anext__(self) -> Event:
        event = await anext(self._events)
        if isinstance(event, TurnFinished | TurnFailed):
            await self.aclose()
        return event

    async def aclose(self) -> None:
        """End the turn and release the conversation."""
        await self._resources.aclose()


async def start_turn(
    services: ConversationServices,
    owner: Owner,
    conversation_id: str | None,
    request: TurnRequest,
    share: Share | None = None,
) -> StartedTurn:
    """Hold a conversation for one turn; the caller closes what it gets.

    Args:
        services: of the worker.
        owner: of the conversation.
        conversation_id: None starts a conversation.
        request: its history is the conversation's own, so it must have none. Its pictures become
            files of the conversation.
        share: of the caller's request, who closes it when the turn has ended.

    Raises:
        ConversationNotFoundError: the owner has none of that id.
        ConversationBusyError: another turn holds it.
        InvalidRequestError: a file that the model shall see is not there, or no picture.
        PayloadTooLargeError: a picture is too large, or there is no room for it.
        DeadlineExceededError: the store took all of the turn's time.
        AppBusyError: other requests have the memory.
    """
    telemetry = TurnTelemetry()
    telemetry.begin()
    if conversation_id:
        telemetry.belongs_to(conversation_id)
    try:
        with telemetry.current():
            return await _start_turn(services, owner, conversation_id, request, telemetry, share)
    except BaseException as error:
        if isinstance(error, Exception):
            known = error if isinstance(error, AgentError) else AgentError.unexpected()
            telemetry.failed(known.code, known.detail_for_log)
        telemetry.end()
        raise


async def _start_turn(
    services: ConversationServices,
    owner: Owner,
    conversation_id: str | None,
    request: TurnRequest,
    telemetry: TurnTelemetry,
    share: Share | None,
) -> StartedTurn:
    asked_at = datetime.now(UTC)
    timeout_s = services.turns.options.timeout_s
    deadline = asyncio.get_running_loop().time() + timeout_s
    store = TimedStore(services.store, deadline, services.turns.in_background)
    async with AsyncExitStack() as resources:
        held = await resources.enter_async_context(
            store.hold(owner, conversation_id, share) if conversation_id else store.start(owner)
        )
        conversation = held.conversation
        history = trim_history(conversation.turns, services.history_max_chars)
        key = ConversationKey(owner, conversation.id)
        pictures = await pictures_of(store, key, request)
        request = replace(request, history=tuple(history), pictures=pictures)
        if share and share.held_bytes:
            share.settle(request.held_bytes + _held_bytes(conversation))
        session = await _session_of(store, services.turns.sessions, key, conversation)
        reserve_s = min(STORE_RESERVE_S, timeout_s * STORE_RESERVE_SHARE)
        turn = run_turn(services.turns, request, session, deadline=deadline - reserve_s)
        stored = _stored(turn, held, request, asked_at)
        telemetry.belongs_to(conversation.id)
        # Also of a turn whose events nobody asks for.
        resources.callback(telemetry.end)
        recorded = with_terminal_event(stored, telemetry)
        events = await resources.enter_async_context(aclosing(recorded))
        return StartedTurn(conversation.id, events, resources.pop_all())


def _held_bytes(conversation: Conversation) -> int:
    """What was read of it: all of it is there until the turn ends."""
    return sum(getsizeof(text) for turn in conversation.turns for text in texts_of(turn.messages))


async def _session_of(
    store: ConversationStore,
    sessions: SessionsClient | None,
    key: ConversationKey,
    conversation: Conversation,
) -> TurnSession | None:
    if sessions is None:
        return None
    identifier = pool_identifier(await store.identifier_key(), key.owner, key.id)
    number = conversation.turn_count + 1
    ran_at = conversation.ran_at
    files = ConversationFiles(store, key, sessions, identifier, number)
    return TurnSession(
        sessions,
        identifier,
        files,
        guid=conversation.session_guid,
        keeps_files=True,
        looks=conversation.may_write,
        is_there=ran_at is not None and datetime.now(UTC) - ran_at < SESSION_LIVES,
        addresses={file.name: file.url for turn in conversation.turns for file in turn.files},
    )


async def _stored(
    events: AsyncGenerator[Event], held: HeldConversation, request: TurnRequest, asked_at: datetime
) -> AsyncGenerator[Event]:
    """The same events; the turn is in the history before the last one is seen."""
    record = TurnRecord()
    async with aclosing(events):
        async for event in events:
            record.add(event)
            if isinstance(event, TurnFinished):
                images = [picture.name for picture in request.pictures]
                result = record.result(event)
                await held.append(Turn.of(request.question, asked_at, result, images))
            yield event
