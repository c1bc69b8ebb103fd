"""A store that keeps to a deadline: what it has not done by then goes on without the caller.

A call that hangs cannot always be cancelled: a thread waits for the network, or a write must not be
left half known. The caller has its error in time; the call ends in the background, and what it
holds is let go of then.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from agent.conversations.owner import IdentifierKey, Owner
from agent.conversations.records import Conversation, ConversationPage, StoredFile, Turn
from agent.conversations.shielding import Call
from agent.conversations.store import ArrivedFile, ConversationStore, HeldConversation
from agent.errors import AgentError, DeadlineExceededError
from agent.memory import Share
from agent.telemetry import logger
from agent.telemetry.calls import store_time

type InBackground = Callable[[Coroutine[None, None, None]], None]
type WaitFor = Callable[[Call[Any]], Awaitable[None]]


class TimedStore:
    """A ConversationStore whose every call ends by one deadline.

    Each raises DeadlineExceededError besides what the store itself raises.

    Args:
        store: does the work.
        deadline: event-loop time.
        in_background: runs a coroutine to its end.
    """

    def __init__(
        self, store: ConversationStore, deadline: float, in_background: InBackground
    ) -> None:
        self._store = store
        self._deadline = deadline
        self._in_background = in_background

    async def identifier_key(self) -> IdentifierKey:
        """See ConversationStore."""
        return await self._in_time(self._store.identifier_key())

    async def check(self) -> None:
        """See ConversationStore."""
        await self._in_time(self._store.check())

    def start(self, owner: Owner) -> AbstractAsyncContextManager[HeldConversation]:
        """See ConversationStore."""
        return self._kept(self._store.start(owner))

    async def get(self, owner: Owner, conversation_id: str) -> Conversation:
        """See ConversationStore."""
        return await self._in_time(self._store.get(owner, conversation_id))

    def hold(
        self, owner: Owner, conversation_id: str, share: Share | None = None
    ) -> AbstractAsyncContextManager[HeldConversation]:
        """See ConversationStore."""
        return self._kept(self._store.hold(owner, conversation_id, share))

    async def list_conversations(
        self, owner: Owner, limit: int, cursor: str | None = None
    ) -> ConversationPage:
        """See ConversationStore."""
        return await self._in_time(self._store.list_conversations(owner, limit, cursor))

    async def delete(self, owner: Owner, conversation_id: str) -> None:
        """See ConversationStore."""
        await self._in_time(self._store.delete(owner, conversation_id))

    async def receive_file(
        self, owner: Owner, conversation_id: str, name: str, content: AsyncIterator[bytes]
    ) -> ArrivedFile:
        """See ConversationStore."""
        return await self._in_time(self._store.receive_file(owner, conversation_id, name, content))

    async def put_file(
        self, owner: Owner, conversation_id: str, name: str, content: AsyncIterator[bytes]
    ) -> StoredFile:
        """See ConversationStore."""
        return await self._in_time(self._store.put_file(owner, conversation_id, name, content))

    async def list_files(self, owner: Owner, conversation_id: str) -> list[StoredFile]:
        """See ConversationStore."""
        return await self._in_time(self._store.list_files(owner, conversation_id))

    @asynccontextmanager
    async def open_file(
        self, owner: Owner, conversation_id: str, name: str
    ) -> AsyncIterator[tuple[StoredFile, AsyncIterator[bytes]]]:
        """See ConversationStore."""
        file = self._store.open_file(owner, conversation_id, name)
        async with AsyncExitStack() as opened:
            stored, chunks = await self._in_time(opened.enter_async_context(file))
            yield stored, self._timed(aiter(chunks))

    async def _timed(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async def read() -> bytes:
            return await anext(chunks, b"")

        while chunk := await self._in_time(read()):
            yield chunk

    async def delete_file(self, owner: Owner, conversation_id: str, name: str) -> None:
        """See ConversationStore."""
        await self._in_time(self._store.delete_file(owner, conversation_id, name))

    async def _in_time[T](self, work: Coroutine[Any, Any, T]) -> T:
        call = Call(work)
        await self._wait_for(call)
        return call.result()

    async def _wait_for(self, call: Call[Any]) -> None:
        if call.done():
            return
        try:
            with store_time():
                await call.wait(self._deadline)
            if not call.done():
                raise _out_of_time()
        finally:
            # Also where the caller has left.
            if not call.done():
                call.leave()
                self._in_background(_end(call))

    @asynccontextmanager
    async def _kept(
        self, holding: AbstractAsyncContextManager[HeldConversation]
    ) -> AsyncIterator[HeldConversation]:
        held = _Held(holding, self._wait_for)
        try:
            await held.enter()
            yield held
        finally:
            # Of its own, so that giving the conversation back may take longer than the turn has.
            leaving = Call(held.leave())
            try:
                await leaving.wait(self._deadline)
            finally:
                if leaving.done():
                    _tell_of(leaving)
                else:
                    self._in_background(_end(leaving))


class _Held:
    """A HeldConversation whose calls may outlive the turn."""

    def __init__(
        self, holding: AbstractAsyncContextManager[HeldConversation], wait_for: WaitFor
    ) -> None:
        self._holding = holding
        self._wait_for = wait_for
        self._entering = Call(holding.__aenter__())
        self._writing: Call[None] | None = None

    @property
    def conversation(self) -> Conversation:
        """See HeldConversation."""
        return self._entering.result().conversation

    async def enter(self) -> None:
        """Wait for the hold."""
        await self._wait_for(self._entering)
        self._entering.result()

    async def append(self, turn: Turn) -> None:
        """See HeldConversation."""
        self._writing = Call(self._entering.result().append(turn))
        await self._wait_for(self._writing)
        self._writing.result()

    async def leave(self) -> None:
        """Give the conversation back, when nothing is written any more."""
        for task in (self._entering, self._writing):
            if task and not task.done():
                await asyncio.wait({task})
        if not self._entering.cancelled() and self._entering.exception() is None:
            await self._holding.__aexit__(None, None, None)


async def _end(work: asyncio.Future[Any]) -> None:
    await asyncio.wait({work})
    _tell_of(work)


def _tell_of(work: asyncio.Future[Any]) -> None:
    if not work.cancelled() and (error := work.exception()):
        code = error.code if isinstance(error, AgentError) else type(error).__name__
        logger.warning("store: a call that took too long failed: %s", code)


def _out_of_time() -> DeadlineExceededError:
    return DeadlineExceededError(
        "The conversations' store did not answer before the turn's deadline."
    )
