"""A turn of a conversation: alone in it, with its history, its session and its files.

A turn is kept when it has its answer, wholly; a turn that fails or that nobody waits for leaves the
conversation as it was, but for what its code did in the session.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, cast
from urllib.parse import quote

from agent.code_interpreter import TurnSession
from agent.conversations import Conversation, ConversationStore, HeldConversation, Turn, fit
from agent.errors import InvalidRequestError
from agent.events import (
    Event,
    Execution,
    ExecutionFinished,
    File,
    FileCreated,
    TurnFinished,
)
from agent.owner import Owner, pool_identifier
from agent.sessions import SessionFile, SessionsClient
from agent.turn import TurnServices, run_turn, to_its_end
from agent.turn_files import in_chunks, media_type_of

# A file that code made is kept up to here, so that it outlives the session; a larger one is there
# as long as the session is.
KEPT_FILE_MAX_BYTES: Final = 16 * 1024**2


@dataclass(frozen=True, slots=True)
class ConversationServices:
    """What the conversations of this worker share.

    Attributes:
        store: where they are kept.
        turns: what every turn needs.
        history_max_chars: how much of a conversation the model reads again.
    """

    store: ConversationStore
    turns: TurnServices
    history_max_chars: int


@dataclass(frozen=True, slots=True)
class ConversationKey:
    """Which conversation, of whom."""

    owner: Owner
    id: str

    def file_url(self, name: str) -> str:
        """Where the caller gets a file of it."""
        return f"/api/conversations/{self.id}/files/{quote(name, safe='')}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a turn is about.

    Attributes:
        question: what the caller asks.
        instructions: the caller's own, for this turn alone; they are not kept.
        stream: whether somebody reads the answer in pieces.
    """

    question: str
    instructions: str = ""
    stream: bool = False


@dataclass(frozen=True, slots=True)
class BegunTurn:
    """A turn that holds its conversation until `events` is closed or at its end."""

    conversation_id: str
    events: AsyncGenerator[Event]


async def begin_turn(
    services: ConversationServices, owner: Owner, conversation_id: str | None, asked: Asked
) -> BegunTurn:
    """Hold a conversation for one turn.

    Args:
        services: of the worker.
        owner: who asks.
        conversation_id: None starts a conversation.
        asked: what.

    Raises:
        ConversationNotFoundError: the owner has none of that id.
        ConversationBusyError: another turn holds it.
    """
    events = _events(services, owner, conversation_id, asked)
    # Held once the generator has begun; from then on closing it lets the conversation go.
    held = await anext(events)
    assert isinstance(held, Conversation)  # noqa: S101 - what it yields first
    return BegunTurn(held.id, cast(AsyncGenerator[Event], events))


async def _events(
    services: ConversationServices, owner: Owner, conversation_id: str | None, asked: Asked
) -> AsyncGenerator[Conversation | Event]:
    store = services.store
    holding = store.hold(owner, conversation_id) if conversation_id else store.start(owner)
    async with holding as held:
        yield held.conversation
        kept = _kept(services, owner, held, asked)
        async with aclosing(to_its_end(kept)) as events:
            async for event in events:
                yield event


async def _kept(
    services: ConversationServices, owner: Owner, held: HeldConversation, asked: Asked
) -> AsyncGenerator[Event]:
    """The turn; its answer is kept before the caller sees that it is complete."""
    record = _Record(asked.question, datetime.now(UTC))
    async with aclosing(await _turn(services, owner, held.conversation, asked)) as events:
        async for event in events:
            record.note(event)
            if isinstance(event, TurnFinished):
                await held.append(record.turn(event))
            yield event


async def _turn(
    services: ConversationServices, owner: Owner, conversation: Conversation, asked: Asked
) -> AsyncGenerator[Event]:
    sessions = services.turns.sessions
    session = None
    if sessions is not None:
        key = ConversationKey(owner, conversation.id)
        identifier = pool_identifier(await services.store.identifier_key(), owner, key.id)
        stem = f"image-{conversation.turn_count + 1}"
        files = ConversationFiles(services.store, key, sessions, identifier, stem)
        session = TurnSession(
            sessions, identifier, files, guid=conversation.session_guid, keeps_files=True
        )
    return run_turn(
        services.turns,
        asked.question,
        history=fit(conversation.turns, services.history_max_chars),
        instructions=asked.instructions,
        session=session,
        stream=asked.stream,
    )


@dataclass(slots=True)
class _Record:
    """What of the events is kept."""

    question: str
    asked_at: datetime
    executions: list[Execution] = field(default_factory=list)
    files: dict[str, File] = field(default_factory=dict)

    def note(self, event: Event) -> None:
        match event:
            case ExecutionFinished():
                self.executions.append(event.execution)
            case FileCreated():
                self.files[event.file.name] = event.file

    def turn(self, finished: TurnFinished) -> Turn:
        return Turn(
            messages=finished.messages,
            input=self.question,
            output=finished.output,
            executions=tuple(self.executions),
            files=tuple(self.files.values()),
            finish_reason=finished.finish_reason,
            usage=finished.usage,
            asked_at=self.asked_at,
            session_guid=finished.session_guid,
            warnings=finished.warnings,
        )


class ConversationFiles:
    """The files of a conversation, in its session and in its store: the sink of its turns."""

    def __init__(
        self,
        store: ConversationStore,
        key: ConversationKey,
        sessions: SessionsClient,
        identifier: str,
        image_stem: str,
    ) -> None:
        self._store = store
        self._key = key
        self._sessions = sessions
        self._identifier = identifier
        self._image_stem = image_stem

    async def prepare(self, present: Collection[SessionFile], *, deadline: float) -> bool:
        """Put the kept files that the session does not have (any more) back into it."""
        there = {file.name for file in present}
        kept = await self._store.list_files(self._key.owner, self._key.id)
        missing = [file for file in kept if file.name not in there]
        for file in missing:
            await self.upload(file.name, file.size_bytes, deadline=deadline)
        return bool(missing)

    async def upload(self, name: str, size_bytes: int, *, deadline: float) -> None:
        """Put one kept file into the session."""

        async def content() -> AsyncIterator[bytes]:
            opened = self._store.open_file(self._key.owner, self._key.id, name)
            async with opened as (_, chunks):
                async for chunk in chunks:
                    yield chunk

        await self._sessions.upload_file(
            self._identifier, name, size_bytes, content, deadline=deadline
        )

    async def take_image(self, name: str, media_type: str, content: bytes) -> File:
        """Keep a figure; each turn counts its own."""
        name = name.replace("image", self._image_stem, 1)
        await self._store.put_file(self._key.owner, self._key.id, name, in_chunks(content))
        return File(name, media_type, len(content), self._key.file_url(name))

    async def take_file(self, file: SessionFile, *, deadline: float) -> File | None:
        """Keep a file that code made, if it is not too large; it has an address either way."""
        taken = File(
            file.name, media_type_of(file.name), file.size_bytes, self._key.file_url(file.name)
        )
        if file.size_bytes > KEPT_FILE_MAX_BYTES:
            return taken
        opened = self._sessions.open_file(self._identifier, file.name, deadline=deadline)
        async with opened as chunks:
            try:
                kept = await self._store.put_file(self._key.owner, self._key.id, file.name, chunks)
            except InvalidRequestError:
                return taken  # a name that the pool has and would not take back
        return replace(taken, size_bytes=kept.size_bytes)
