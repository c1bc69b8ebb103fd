"""Requests go on to a real OpenAI-compatible server, here a small one over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from local.azure_openai import AzureOpenAI, Relay
from local.managed_identity import TokenVerifier
from local.serving import serve
from tests.local.azure_openai.conftest import CHAT, HELLO, Connect


class OtherServer:
    """An OpenAI-compatible server that remembers what it was asked."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.authorizations: list[str | None] = []
        self.go_on = asyncio.Event()
        self.closed = asyncio.Event()
        self.app = Starlette(routes=[Route("/v1/chat/completions", self._chat, methods=["POST"])])

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        self.authorizations.append(request.headers.get("authorization"))
        if body["model"] == "missing":
            return JSONResponse({"error": {"message": "model 'missing' not found"}}, 404)
        if body["model"] == "broken":
            return PlainTextResponse("out of memory", 500)
        if body.get("stream"):
            return StreamingResponse(self._chunks(), media_type="text/event-stream")
        return JSONResponse({"model": body["model"], "choices": [], "vendor": "kept"})

    async def _chunks(self) -> AsyncIterator[str]:
        try:
            yield 'data: {"n": 1}\n\n'
            await self.go_on.wait()
            yield 'data: {"n": 2}\n\ndata: [DONE]\n\n'
        finally:
            self.closed.set()


@pytest.fixture
def other() -> OtherServer:
    return OtherServer()


@pytest.fixture
async def other_url(other: OtherServer) -> AsyncIterator[str]:
    async with serve(other.app) as url:
        yield f"{url}/v1"


async def test_request_goes_on_with_the_servers_name_and_without_our_token(
    verifier: TokenVerifier, connect: Connect, other: OtherServer, other_url: str
) -> None:
    service = AzureOpenAI(verifier, model=Relay(other_url, "llama3"))
    async with connect(service) as client:
        body = {"messages": HELLO, "model": "local", "top_k": 7}
        response = await client.post(CHAT, json=body)
    assert response.json() == {"model": "llama3", "choices": [], "vendor": "kept"}
    assert "apim-request-id" in response.headers
    assert other.bodies == [{"messages": HELLO, "model": "llama3", "top_k": 7}]
    assert other.authorizations == [None]


async def test_servers_own_key_is_sent_when_there_is_one(
    verifier: TokenVerifier, connect: Connect, other: OtherServer, other_url: str
) -> None:
    relay = Relay(f"{other_url}/chat/completions", "llama3", key="sk-1")
    async with connect(AzureOpenAI(verifier, model=relay)) as client:
        await client.post(CHAT, json={"messages": HELLO})
    assert other.authorizations == ["Bearer sk-1"]
    assert "sk-1" not in repr(relay)


async def test_stream_is_passed_through_while_it_is_being_written(
    verifier: TokenVerifier, connect: Connect, other: OtherServer, other_url: str
) -> None:
    service = AzureOpenAI(verifier, model=Relay(other_url, "llama3"))
    async with (
        connect(service) as client,
        client.stream("POST", CHAT, json={"messages": HELLO, "stream": True}) as response,
    ):
        lines = (line async for line in response.aiter_lines() if line)
        first = await anext(lines)  # the server waits for us before it writes the second
        other.go_on.set()
        rest = [line async for line in lines]
    assert response.headers["content-type"].startswith("text/event-stream")
    assert json.loads(first.removeprefix("data: ")) == {"n": 1}
    assert rest == ['data: {"n": 2}', "data: [DONE]"]


async def test_hang_up_reaches_the_server(
    verifier: TokenVerifier, connect: Connect, other: OtherServer, other_url: str
) -> None:
    service = AzureOpenAI(verifier, model=Relay(other_url, "llama3"))
    async with connect(service) as client:
        async with client.stream(
            "POST", CHAT, json={"messages": HELLO, "stream": True}
        ) as response:
            await anext(response.aiter_lines())
        async with asyncio.timeout(1):
            await service.hang_ups.wait()
            await other.closed.wait()


async def test_servers_json_error_is_passed_through(
    verifier: TokenVerifier, connect: Connect, other_url: str
) -> None:
    service = AzureOpenAI(verifier, model=Relay(other_url, "missing"))
    async with connect(service) as client:
        response = await client.post(CHAT, json={"messages": HELLO})
    assert response.status_code == 404
    assert response.json()["error"]["message"] == "model 'missing' not found"


async def test_servers_other_errors_are_quoted_in_azures_envelope(
    verifier: TokenVerifier, connect: Connect, other_url: str
) -> None:
    service = AzureOpenAI(verifier, model=Relay(other_url, "broken"))
    async with connect(service) as client:
        response = await client.post(CHAT, json={"messages": HELLO})
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "LocalModelFailed"
    assert "answered 500: out of memory" in response.json()["error"]["message"]


async def test_server_that_is_not_there_is_named(verifier: TokenVerifier, connect: Connect) -> None:
    async with serve(Starlette()) as url:
        pass  # a port on which nothing listens any more
    service = AzureOpenAI(verifier, model=Relay(url, "llama3"))
    async with connect(service) as client:
        response = await client.post(CHAT, json={"messages": HELLO})
    error = response.json()["error"]
    assert response.status_code == 502
    assert error["code"] == "LocalModelUnreachable"
    assert url in error["message"]
    assert "correct LOCAL_MODEL_URL" in error["message"]


async def test_relay_still_wants_our_token(
    verifier: TokenVerifier, connect: Connect, other: OtherServer, other_url: str
) -> None:
    service = AzureOpenAI(verifier, model=Relay(other_url, "llama3"))
    async with connect(service) as client:
        client.headers["authorization"] = "Bearer nonsense"
        assert (await client.post(CHAT, json={"messages": HELLO})).status_code == 401
    assert other.bodies == []


async def test_stream_that_breaks_at_the_server_breaks_here(
    verifier: TokenVerifier, connect: Connect
) -> None:
    async def half(request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"data: 1\n\n"

        # Fewer bytes than promised: the server closes the connection in the middle.
        return StreamingResponse(chunks(), headers={"content-length": "1000"})

    app = Starlette(routes=[Route("/chat/completions", half, methods=["POST"])])
    async with serve(app) as url:
        service = AzureOpenAI(verifier, model=Relay(url, "llama3"))
        async with connect(service) as client:
            with pytest.raises(httpx2.RemoteProtocolError):
                await client.post(CHAT, json={"messages": HELLO, "stream": True})


@pytest.mark.parametrize(
    ("url", "name", "words"),
    [
        ("127.0.0.1:11434", "llama3", "LOCAL_MODEL_URL"),
        ("http://h/v1", "", "LOCAL_MODEL_NAME"),
        ("", "llama3", "LOCAL_MODEL_URL"),
    ],
)
def test_wrong_setting_is_named(url: str, name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Relay.from_settings({"LOCAL_MODEL_URL": url, "LOCAL_MODEL_NAME": name})


def test_relay_is_made_of_settings_when_they_ask_for_one() -> None:
    settings = {"LOCAL_MODEL_URL": "http://h:1/v1/", "LOCAL_MODEL_NAME": "m"}
    relay = Relay.from_settings(settings)
    assert relay == Relay("http://h:1/v1/", "m")
    assert relay.chat_url == "http://h:1/v1/chat/completions"
    assert Relay.from_settings({}) is None
    keyed = Relay.from_settings({**settings, "LOCAL_MODEL_KEY": "sk-1"})
    assert keyed is not None
    assert keyed.key == "sk-1"
