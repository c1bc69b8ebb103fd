"""The openai client's requests over aiohttp: what a server does, in the client's words."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256

import aiohttp
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from agent.model.transport import PIECE_BYTES, AiohttpTransport
from local.serving import serve
from tests.support.loops import loop_turns


@asynccontextmanager
async def client(*, trust_env: bool = False) -> AsyncIterator[httpx2.AsyncClient]:
    async with (
        aiohttp.ClientSession(trust_env=trust_env) as http,
        httpx2.AsyncClient(transport=AiohttpTransport(http)) as opened,
    ):
        yield opened


@asynccontextmanager
async def raw_server(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that reads a request's head, sends these bytes and hangs up; what it read."""
    heads: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1")
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", httpx2.ReadError),
        (b"nonsense\r\n\r\n", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", httpx2.ReadError),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n", httpx2.ReadError),
        (
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}",
            httpx2.DecodingError,
        ),
    ],
    ids=["no answer", "no HTTP", "too short", "no last chunk", "not encoded as it says"],
)
async def test_an_answer_that_is_broken_is_an_error_of_httpx2(
    answer: bytes, error: type[httpx2.RequestError]
) -> None:
    async with raw_server(answer) as (url, _), client() as http:
        with pytest.raises(error) as raised:
            await http.post(url, content=b"{}")
    assert type(raised.value) is error


async def test_a_server_that_is_not_there_is_a_connect_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with client() as http:
        with pytest.raises(httpx2.ConnectError):
            await http.post(f"http://127.0.0.1:{port}", content=b"{}")


async def test_requests_and_answers_arrive_as_they_are() -> None:
    async def echo(request: Request) -> Response:
        body = {
            "method": request.method,
            "query": str(request.url.query),
            "body": (await request.body()).decode(),
            "twice": request.headers.getlist("x-twice"),
        }
        packed = gzip.compress(JSONResponse(body).body)
        return Response(packed, 201, {"content-encoding": "gzip", "x-name": "a"})

    app = Starlette(routes=[Route("/{path}", echo, methods=["POST"])])
    async with serve(app) as url, client() as http:
        headers = [("x-twice", "1"), ("x-twice", "2")]
        answer = await http.post(f"{url}/a?b=%2F&c", headers=headers, content=b'{"d": "\xc3\xa9"}')
    assert (answer.status_code, answer.headers["x-name"]) == (201, "a")
    assert answer.json() == {
        "method": "POST",
        "query": "b=%2F&c",
        "body": '{"d": "é"}',
        "twice": ["1", "2"],
    }


async def test_a_long_body_arrives_whole_and_of_known_length_and_lets_others_work() -> None:
    async def measure(request: Request) -> Response:
        body = await request.body()
        answer = {"length": request.headers.get("content-length"), "sha": sha256(body).hexdigest()}
        return JSONResponse(answer)

    body = bytes(range(256)) * (20 * PIECE_BYTES // 256) + b"end"
    app = Starlette(routes=[Route("/", measure, methods=["POST"])])
    async with serve(app) as url, client() as http:
        turns = await loop_turns(http.post(url, content=body))
        answer = await http.post(url, content=body)
    assert answer.json() == {"length": str(len(body)), "sha": sha256(body).hexdigest()}
    assert turns >= 20


async def test_a_redirect_is_not_followed() -> None:
    asked: list[str] = []

    async def elsewhere(request: Request) -> Response:
        asked.append(request.url.path)
        return RedirectResponse("/other", 307)

    app = Starlette(routes=[Route("/{path}", elsewhere, methods=["POST"])])
    async with serve(app) as url, client() as http:
        answer = await http.post(f"{url}/a", content=b"{}")
    assert (answer.status_code, asked) == (307, ["/a"])


async def test_a_connection_is_used_again_once_its_answer_is_read_and_not_before() -> None:
    peers: list[object] = []

    async def answer(request: Request) -> Response:
        peers.append(request.client)
        return Response(b"x" * 10**6)

    app = Starlette(routes=[Route("/", answer, methods=["POST"])])
    async with serve(app) as url, client() as http:
        for _ in range(2):
            await http.post(url, content=b"{}")
        async with http.stream("POST", url, content=b"{}"):
            pass  # left before its end
        await http.post(url, content=b"{}")
    assert peers[0] == peers[1] == peers[2]
    assert peers[3] != peers[2]


async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    async with raw_server(answer) as (proxy, heads):
        monkeypatch.setenv("http_proxy", proxy)
        async with client(trust_env=True) as http:
            assert (await http.post("http://model.example/a", content=b"{}")).json() == {}
    assert heads[0].startswith(b"POST http://model.example/a HTTP/1.1\r\n")
