"""Every store there is, to hold all of them to one contract."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from azure.storage.blob.aio import ContainerClient

from agent.conversations.blob.store import BlobStore, Transport, open_container, open_transport
from agent.conversations.folder.store import FolderStore
from agent.conversations.store import ConversationStore, Limits
from agent.conversations.timed import TimedStore
from local.managed_identity import ManagedIdentity
from tests.support.azurite.server import Azurite, MintedCredential, running

type OpenStore = Callable[[Limits], ConversationStore]


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    with running() as server:
        yield server


@dataclass(frozen=True, slots=True)
class Container:
    """An empty container and how to open clients of it; they are closed with the test."""

    url: str
    open: Callable[..., ContainerClient]


@pytest_asyncio.fixture
async def container(azurite: Azurite) -> AsyncIterator[Container]:
    url = f"{azurite.account_url}/{secrets.token_hex(8)}"
    credential = MintedCredential(ManagedIdentity())
    async with AsyncExitStack() as clients:

        def open_it(transport: Transport | None = None) -> ContainerClient:
            client = open_container(url, credential, transport or open_transport(azurite.ca_file))
            clients.push_async_exit(client)
            return client

        await open_it().create_container()
        yield Container(url, open_it)


@pytest.fixture(params=["folder", "blob", "timed"])
def worker(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Opens the store as one more worker would: nothing is shared in memory."""
    if request.param == "folder":
        return lambda limits: FolderStore(tmp_path / "conversations", limits)
    if request.param == "timed":
        # With all the time in the world it is the store that it is made of.
        background: set[asyncio.Task[None]] = set()
        return lambda limits: TimedStore(
            FolderStore(tmp_path / "conversations", limits),
            deadline=1e9,
            in_background=lambda work: background.add(asyncio.create_task(work)),
        )
    container: Container = request.getfixturevalue("container")
    return lambda limits: BlobStore(container.open(), limits)


@pytest.fixture
def store(worker: OpenStore) -> ConversationStore:
    return worker(Limits())
