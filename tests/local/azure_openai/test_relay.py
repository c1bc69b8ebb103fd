"""Requests go on to a real OpenAI-compatible server, here a small one over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from local.azure_openai import AzureOpenAI, Relay
from local.azure_openai.relay import MAX_TOKENS
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
    assert other.bodies == [
        {"messages": HELLO, "model": "llama3", "top_k": 7, "max_tokens": MAX_TOKENS}
    ]
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


@pytest.mark.parametrize(
    ("own", "context", "body", "sent"),
    [
        (MAX_TOKENS, None, {}, MAX_TOKENS),
        (100, None, {}, 100),
        (0, None, {}, None),
        (100, None, {"max_tokens": 7}, 7),
        (100, None, {"max_completion_tokens": 7}, 7),
        (0, None, {"max_completion_tokens": 7}, 7),
        # A prompt must have room beside it: vLLM refuses what is together too long.
        (MAX_TOKENS, 8192, {}, 2048),
        (MAX_TOKENS, 131_072, {}, MAX_TOKENS),
        (100, 8192, {}, 100),
        (100, 3, {}, 1),
        (0, 8192, {}, None),
        (100, 8192, {"max_tokens": 8000}, 8000),
    ],
)
async def test_an_answer_is_bounded_under_the_name_that_every_server_knows(
    verifier: TokenVerifier,
    connect: Connect,
    other: OtherServer,
    other_url: str,
    own: int,
    context: int | None,
    body: dict[str, int],
    sent: int | None,
) -> None:
    relay = Relay(other_url, "llama3", max_tokens=own, context_tokens=context)
    async with connect(AzureOpenAI(verifier, model=relay)) as client:
        await client.post(CHAT, json={"messages": HELLO, **body})
    assert other.bodies[0].get("max_tokens") == sent
    assert "max_completion_tokens" not in other.bodies[0]


def error_json(message: str) -> bytes:
    return json.dumps({"error": {"message": message, "code": 7}}).encode()


# Status, media type and body of the server → status and code of the relay, what its sentence has.
REFUSALS: dict[str, tuple[tuple[int, str, bytes], int, str, list[str]]] = {
    "Ollama without the model": (
        (404, "application/json", error_json("model 'm' not found")),
        404,
        "LocalModelNotFound",
        ["answered 404: model 'm' not found. Correct LOCAL_MODEL_NAME"],
    ),
    "vLLM without the model": (
        (404, "application/json", b'{"object": "error", "message": "The model `m` is not there."}'),
        404,
        "LocalModelNotFound",
        ["The model `m` is not there. Correct LOCAL_MODEL_NAME"],
    ),
    "another path": (
        (404, "application/json", b'{"detail": "Not Found"}'),
        502,
        "LocalModelUrlWrong",
        ["answered 404: Not Found. LOCAL_MODEL must be the base URL", "/v1"],
    ),
    "another path, as text": (
        (404, "text/plain", b"404 page not found"),
        502,
        "LocalModelUrlWrong",
        ["404 page not found", "LOCAL_MODEL"],
    ),
    "LM Studio without /v1": (
        (200, "application/json", b'{"error": "Unexpected endpoint or method."}'),
        502,
        "LocalModelUrlWrong",
        ["Unexpected endpoint or method.", "LOCAL_MODEL"],
    ),
    "a page": (
        (200, "text/html", b"<html>Open WebUI</html>"),
        502,
        "LocalModelUrlWrong",
        ["answered 200: a web page. LOCAL_MODEL"],
    ),
    "a text": (
        (200, "text/plain", b"Ollama is running"),
        502,
        "LocalModelUrlWrong",
        ["no chat completion: Ollama is running. LOCAL_MODEL"],
    ),
    "no key": (
        (401, "text/plain", b"Unauthorized"),
        502,
        "LocalModelKeyRefused",
        ["answered 401: Unauthorized. Set LOCAL_MODEL_KEY"],
    ),
    "loading": (
        (503, "application/json", error_json("Loading model")),
        503,
        "LocalModelLoading",
        ["Loading model. It loads the model: ask again later."],
    ),
    "no tools": (
        (400, "application/json", error_json("m does not support tools")),
        400,
        "LocalModelWithoutTools",
        ["m does not support tools. Name a model that takes tools in LOCAL_MODEL_NAME."],
    ),
    "vLLM without a parser": (
        (
            400,
            "application/json",
            b'{"object":"error","message":"\\"auto\\" tool choice requires --enable-auto-tool-'
            b'choice and --tool-call-parser to be set","type":"BadRequestError","code":400}',
        ),
        400,
        "LocalModelWithoutTools",
        ["--tool-call-parser to be set. Start vLLM with these options", "LOCAL_MODEL_NAME"],
    ),
    "LM Studio without a model": (
        (404, "application/json", error_json("No models loaded. Please load a model")),
        404,
        "LocalModelNotFound",
        ["No models loaded. Please load a model. Correct LOCAL_MODEL_NAME, or download the"],
    ),
    "out of memory": (
        (500, "text/plain", b"out of\n memory"),
        502,
        "LocalModelFailed",
        ["answered 500: out of memory"],
    ),
    "nothing": ((500, "text/plain", b""), 502, "LocalModelFailed", ["answered 500: (empty)"]),
    "a failed template": (
        (500, "application/json", error_json("Value is not callable: null")),
        502,
        "LocalModelFailed",
        ["answered 500: Value is not callable: null"],
    ),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("answer", "status", "code", "has"), REFUSALS.values(), ids=REFUSALS.keys()
)
async def test_each_refusal_is_a_sentence_with_the_setting_to_change(
    verifier: TokenVerifier,
    connect: Connect,
    answer: tuple[int, str, bytes],
    status: int,
    code: str,
    has: list[str],
    stream: bool,
) -> None:
    async def refuse(request: Request) -> Response:
        return Response(answer[2], answer[0], media_type=answer[1])

    app = Starlette(routes=[Route("/v1/chat/completions", refuse, methods=["POST"])])
    async with serve(app) as url:
        service = AzureOpenAI(verifier, model=Relay(f"{url}/v1", "m"))
        async with connect(service) as client:
            response = await client.post(CHAT, json={"messages": HELLO, "stream": stream})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert [part for part in has if part not in error["message"]] == [], error["message"]
    assert response.headers["x-should-retry"] == "false"


async def test_what_a_server_says_of_the_request_is_passed_through(
    verifier: TokenVerifier, connect: Connect
) -> None:
    said = {"error": {"code": 400, "message": "too long", "type": "exceed_context_size_error"}}

    async def refuse(request: Request) -> Response:
        return JSONResponse(said, 400)

    app = Starlette(routes=[Route("/chat/completions", refuse, methods=["POST"])])
    async with serve(app) as url, connect(AzureOpenAI(verifier, model=Relay(url, "m"))) as client:
        response = await client.post(CHAT, json={"messages": HELLO})
    assert (response.status_code, response.json()) == (400, said)


async def test_a_refused_key_is_named(verifier: TokenVerifier, connect: Connect) -> None:
    async def refuse(request: Request) -> Response:
        return JSONResponse({"error": {"message": "Incorrect API key"}}, 401)

    app = Starlette(routes=[Route("/chat/completions", refuse, methods=["POST"])])
    async with serve(app) as url:
        service = AzureOpenAI(verifier, model=Relay(url, "m", key="sk-1"))
        async with connect(service) as client:
            response = await client.post(CHAT, json={"messages": HELLO})
    assert "Incorrect API key. Correct LOCAL_MODEL_KEY." in response.json()["error"]["message"]


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
    assert "correct LOCAL_MODEL" in error["message"]


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
        return StreamingResponse(
            chunks(), headers={"content-length": "1000"}, media_type="text/event-stream"
        )

    app = Starlette(routes=[Route("/chat/completions", half, methods=["POST"])])
    async with serve(app) as url:
        service = AzureOpenAI(verifier, model=Relay(url, "llama3"))
        async with connect(service) as client:
            with pytest.raises(httpx2.RemoteProtocolError):
                await client.post(CHAT, json={"messages": HELLO, "stream": True})
