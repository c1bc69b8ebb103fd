"""A turn ends by its deadline, whatever the store does, and nothing is lost by that."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from agent.conversations.blob.container import Container
from agent.conversations.blob.store import BlobStore
from agent.conversations.folder.store import FolderStore
from agent.conversations.owner import ANONYMOUS, IdentifierKey, Owner
from agent.conversations.records import Conversation, StoredFile, Turn
from agent.conversations.store import ConversationStore, HeldConversation
from agent.conversations.timed import TimedStore
from agent.conversations.turn import ConversationServices, start_turn
from agent.errors import ConversationBusyError, DeadlineExceededError
from agent.events import TurnFailed, TurnFinished
from agent.memory import Share
from agent.runtime import Runtime
from agent.turns.turn import TurnRequest
from local.azure_openai import CallTool, Say, Step
from tests.agent.conversations.samples import turn as a_turn
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.azurite.server import MintedTokens
from tests.support.identities import shared_identity

pytestmark = pytest.mark.asyncio(loop_scope="session")

TIMEOUT_S = 1.0
# Code runs in it too.
TIMEOUT_WITH_CODE_S = 3.0
# What a busy machine may take on top.
MARGIN_S = 5.0


class _HangingHold:
    """A hold that hangs where it is told to."""

    def __init__(self, held: HeldConversation, hang: Callable[[str], Coroutine[Any, Any, None]]):
        self._held = held
        self._hang = hang

    @property
    def conversation(self) -> Conversation:
        return self._held.conversation

    async def append(self, turn: Turn) -> None:
        await self._hang("append")
        await self._held.append(turn)


_hanging: list["HangingStore"] = []


@pytest.fixture(autouse=True)
def mended(runtime: Runtime) -> Iterator[None]:
    """Nothing hangs any more when the runtime waits for what is left of it."""
    yield
    while _hanging:
        _hanging.pop().mended.set()


class HangingStore(FolderStore):
    """One of its calls hangs until the store is mended, and cannot be cancelled meanwhile."""

    def __init__(self, root: Path, hanging: str = "") -> None:
        super().__init__(root)
        self.hanging = hanging
        self.mended = asyncio.Event()
        _hanging.append(self)

    async def _hang(self, call: str) -> None:
        if call == self.hanging:
            mended = asyncio.ensure_future(self.mended.wait())
            while not mended.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.shield(mended)

    async def identifier_key(self) -> IdentifierKey:
        await self._hang("identifier_key")
        return await super().identifier_key()

    @contextlib.asynccontextmanager
    async def start(self, owner: Owner) -> AsyncIterator[HeldConversation]:
        await self._hang("start")
        async with super().start(owner) as held:
            yield _HangingHold(held, self._hang)
            await self._hang("release")

    @contextlib.asynccontextmanager
    async def hold(
        self, owner: Owner, conversation_id: str, share: Share | None = None
    ) -> AsyncIterator[HeldConversation]:
        await self._hang("hold")
        async with super().hold(owner, conversation_id, share) as held:
            yield _HangingHold(held, self._hang)

    async def put_file(
        self, owner: Owner, conversation_id: str, name: str, content: AsyncIterator[bytes]
    ) -> StoredFile:
        await self._hang("put_file")
        return await super().put_file(owner, conversation_id, name, content)

    async def list_files(self, owner: Owner, conversation_id: str) -> list[StoredFile]:
        await self._hang("list_files")
        return await super().list_files(owner, conversation_id)


@pytest_asyncio.fixture(loop_scope="session")
async def runtime(open_runtime: OpenRuntime) -> AsyncIterator[Runtime]:
    async with open_runtime() as opened:
        yield opened


def services(
    runtime: Runtime, store: ConversationStore, timeout_s: float = TIMEOUT_S
) -> ConversationServices:
    options = replace(runtime.turns.options, timeout_s=timeout_s)
    return ConversationServices(store, replace(runtime.turns, options=options), 10_000)


@contextlib.contextmanager
def in_time(timeout_s: float = TIMEOUT_S) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < timeout_s + MARGIN_S


WRITE = CallTool(code="open('/mnt/data/a.txt', 'w').write('a')")


@pytest.mark.parametrize(
    ("hanging", "steps"),
    [
        ("start", ()),
        ("identifier_key", ()),
        ("list_files", (WRITE,)),
        ("put_file", (WRITE,)),
        ("append", (Say("Done."),)),
    ],
)
async def test_a_turn_ends_by_its_deadline_with_a_store_that_hangs(
    azure: SharedAzure, runtime: Runtime, tmp_path: Path, hanging: str, steps: tuple[Step, ...]
) -> None:
    store = HangingStore(tmp_path, hanging)
    timeout_s = TIMEOUT_WITH_CODE_S if WRITE in steps else TIMEOUT_S
    store_services = services(runtime, store, timeout_s)
    with azure.model.script(*steps), in_time(timeout_s):
        try:
            turn = await start_turn(store_services, ANONYMOUS, None, TurnRequest("Hi"))
            async for event in turn:
                last = event
            assert isinstance(last, TurnFailed)
            error: Exception = last.error
        except DeadlineExceededError as raised:
            error = raised
    assert isinstance(error, DeadlineExceededError)


async def test_a_turn_that_goes_on_with_a_conversation_ends_by_its_deadline(
    runtime: Runtime, tmp_path: Path
) -> None:
    store = HangingStore(tmp_path, "hold")
    async with store.start(ANONYMOUS) as held:
        conversation_id = held.conversation.id
    with in_time(), pytest.raises(DeadlineExceededError):
        await start_turn(services(runtime, store), ANONYMOUS, conversation_id, TurnRequest("Hi"))
    store.mended.set()


async def test_an_answer_does_not_wait_for_the_conversation_to_be_given_back(
    azure: SharedAzure, runtime: Runtime, tmp_path: Path
) -> None:
    store = HangingStore(tmp_path, "release")
    with azure.model.script(Say("Done.")), in_time():
        turn = await start_turn(services(runtime, store), ANONYMOUS, None, TurnRequest("Hi"))
        events = [event async for event in turn]
    assert isinstance(events[-1], TurnFinished)


async def test_an_account_that_never_answers_ends_the_turn_by_its_deadline(
    runtime: Runtime,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/account/container"
        async with aiohttp.ClientSession() as http:
            store = BlobStore(Container(url, http, MintedTokens(shared_identity())))
            with in_time(), pytest.raises(DeadlineExceededError):
                await start_turn(services(runtime, store), ANONYMOUS, None, TurnRequest("Hi"))


class Background:
    """Runs what is left to it, and can wait for it."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def __call__(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def ended(self) -> None:
        await asyncio.gather(*self._tasks)


def timed(store: ConversationStore, background: Background, timeout_s: float = 0.1) -> TimedStore:
    return TimedStore(store, asyncio.get_running_loop().time() + timeout_s, background)


async def test_a_hold_that_comes_too_late_is_given_back(tmp_path: Path) -> None:
    store, background = HangingStore(tmp_path, "hold"), Background()
    async with store.start(ANONYMOUS) as held:
        conversation_id = held.conversation.id
    with pytest.raises(DeadlineExceededError):
        async with timed(store, background).hold(ANONYMOUS, conversation_id):
            pass
    store.mended.set()
    await background.ended()
    async with store.hold(ANONYMOUS, conversation_id):
        pass


async def test_a_conversation_stays_held_while_a_late_turn_is_written(tmp_path: Path) -> None:
    store, background = HangingStore(tmp_path, "append"), Background()
    async with timed(store, background).start(ANONYMOUS) as held:
        conversation_id = held.conversation.id
        with pytest.raises(DeadlineExceededError):
            await held.append(a_turn())
    with pytest.raises(ConversationBusyError):
        async with FolderStore(tmp_path).hold(ANONYMOUS, conversation_id):
            pass
    store.mended.set()
    await background.ended()
    async with FolderStore(tmp_path).hold(ANONYMOUS, conversation_id):
        pass


async def test_a_caller_who_leaves_waits_for_no_store(tmp_path: Path) -> None:
    store, background = HangingStore(tmp_path, "list_files"), Background()
    listing = asyncio.create_task(
        timed(store, background, timeout_s=60).list_files(ANONYMOUS, "0" * 32)
    )
    await asyncio.sleep(0)
    listing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listing
    store.mended.set()
    await background.ended()
