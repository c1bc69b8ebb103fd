from collections.abc import AsyncIterator

import httpx2
import pytest

from local.managed_identity import Identity, ManagedIdentity
from local.serving import serve

USER_ASSIGNED = Identity(
    client_id="0000aaaa-0000-4000-8000-0000000000c1",
    object_id="0000aaaa-0000-4000-8000-0000000000b1",
    resource_id="/subscriptions/s/resourceGroups/g/providers/"
    "Microsoft.ManagedIdentity/userAssignedIdentities/agent",
)


class Clock:
    """A clock that stands where a test puts it."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def identity() -> ManagedIdentity:
    return ManagedIdentity(user_assigned=[USER_ASSIGNED])


@pytest.fixture
async def base_url(identity: ManagedIdentity) -> AsyncIterator[str]:
    async with serve(identity.app) as url:
        yield url


@pytest.fixture
async def client(base_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    # Plain http needs no certificates, which take long to load.
    async with httpx2.AsyncClient(base_url=base_url, verify=False) as client:
        yield client


@pytest.fixture
def app_service(identity: ManagedIdentity, base_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that App Service gives an app with a managed identity."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", base_url + identity.path)
    monkeypatch.setenv("IDENTITY_HEADER", identity.identity_header)
