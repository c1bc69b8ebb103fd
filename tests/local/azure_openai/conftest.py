import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2
import pytest

from local.azure_openai import AzureOpenAI
from local.managed_identity import ManagedIdentity, TokenVerifier
from local.serving import serve
from tests.support.identities import shared_identity

AUDIENCE = "https://cognitiveservices.azure.com"
CHAT = "/openai/deployments/local/chat/completions?api-version=2024-10-21"
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "execute_python",
        "parameters": {
            "type": "object",
            "properties": {"code": {"type": "string"}},
            "required": ["code"],
        },
    },
}
HELLO = [{"role": "user", "content": "Hello"}]

Connect = Callable[[AzureOpenAI], AbstractAsyncContextManager[httpx2.AsyncClient]]


def events(body: str) -> list[dict[str, Any]]:
    """The chunks of a stream, without the `[DONE]` that must end it."""
    lines = [line for line in body.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


@pytest.fixture(scope="session")
def identity() -> ManagedIdentity:
    return shared_identity()


@pytest.fixture
def verifier(identity: ManagedIdentity) -> TokenVerifier:
    return identity.verifier(AUDIENCE)


@pytest.fixture
def connect(identity: ManagedIdentity) -> Connect:
    """A client with a valid token, over HTTP, for a service that starts with it."""

    @asynccontextmanager
    async def connect(service: AzureOpenAI) -> AsyncIterator[httpx2.AsyncClient]:
        headers = {"authorization": f"Bearer {identity.mint(AUDIENCE)}"}
        async with (
            serve(service.app) as url,
            # Plain http needs no certificates, which take long to load.
            httpx2.AsyncClient(base_url=url, headers=headers, timeout=10, verify=False) as client,
        ):
            yield client

    return connect


@pytest.fixture
def call(identity: ManagedIdentity) -> Connect:
    """The same without sockets: for what does not depend on the connection."""

    @asynccontextmanager
    async def call(service: AzureOpenAI) -> AsyncIterator[httpx2.AsyncClient]:
        headers = {"authorization": f"Bearer {identity.mint(AUDIENCE)}"}
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(service.app), base_url="http://l", headers=headers
        ) as client:
            yield client

    return call
