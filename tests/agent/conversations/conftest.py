"""Every store there is, to hold all of them to one contract."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp.client_middlewares import ClientMiddlewareType
from azure.core.pipeline.transport import AsyncioRequestsTransport
from azure.storage.blob.aio import ContainerClient

from agent.conversations.blob.container import Container as Client
from agent.conversations.blob.store import BlobStore
from agent.conversations.folder.store import FolderStore
from agent.conversations.store import ConversationStore, Limits
from agent.conversations.timed import TimedStore
from tests.support.azurite.server import (
    Azurite,
    MintedCredential,
    MintedTokens,
    connections,
    running,
)
from tests.support.identities import shared_identity

type OpenStore = Callable[[Limits], ConversationStore]


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    with running() as server:
        yield server


@dataclass(frozen=True, slots=True)
class Container:
    """An empty container and how to open clients of it; they are closed with the test.

    Attributes:
        url: of the container.
        open: makes one of ours, with what stands between it and Azurite.
        sdk: Microsoft's own client, to be in the way of ours and to look at what it did.
    """

    url: str
    open: Callable[..., Client]
    sdk: ContainerClient


@pytest_asyncio.fixture
async def container(azurite: Azurite) -> AsyncIterator[Container]:
    url = f"{azurite.account_url}/{secrets.token_hex(8)}"
    identity = shared_identity()
    transport = AsyncioRequestsTransport(connection_verify=azurite.ca_file)
    sdk = ContainerClient.from_container_url(url, MintedCredential(identity), transport=transport)
    async with AsyncExitStack() as clients:

        def open_it(*middlewares: ClientMiddlewareType) -> Client:
            http = connections(azurite.ca_file, *middlewares)
            clients.push_async_exit(http)
            return Client(url, http, MintedTokens(identity))

        await clients.enter_async_context(sdk)
        await sdk.create_container()
        yield Container(url, open_it, sdk)


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


@pytest_asyncio.fixture
async def store(worker: OpenStore) -> ConversationStore:
    return worker(Limits())
