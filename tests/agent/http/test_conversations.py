"""A file of a conversation on its way to the caller."""

import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from agent.http.conversations import FileResponse


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("asgi_version", ["2.3", "2.4"])
async def test_a_download_that_the_caller_cuts_is_closed_at_once(
    no_garbage_collection: None, asgi_version: str
) -> None:
    closed: list[str] = []
    resources = AsyncExitStack()
    resources.callback(closed.append, "the file")

    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1024

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) == 3:
            raise OSError("the connection is gone")

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    response = FileResponse("a.bin", 10_000_000, chunks(), resources)
    scope = {"type": "http", "asgi": {"spec_version": asgi_version}}
    try:
        await response(scope, receive, send)
    except* (OSError, ClientDisconnect):
        assert len(sent) == 3
    assert closed == ["the file"]
