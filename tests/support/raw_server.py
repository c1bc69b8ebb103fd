"""A model server that speaks raw bytes: each test says what goes over the wire, HTTP and all."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class RawServer:
    """Answers each request with the next bytes, then closes the connection.

    Attributes:
        url: where it listens.
        answers: what is left to say; a request that finds none gets the last one again.
        requests: what it was asked: target, headers in lower case, and the JSON body.
        choose: takes the body of a request and gives its answer, in place of `answers`.
        pages: the answers by path, before the others.
        hold: keeps the connection open behind an answer until it is set.
    """

    url: str
    answers: list[bytes] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    choose: Callable[[Any], bytes] | None = None
    pages: dict[str, bytes] = field(default_factory=dict)
    hold: asyncio.Event | None = None

    @property
    def bodies(self) -> list[Any]:
        """The JSON bodies of the requests."""
        return [body for _, _, body in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        left = (ConnectionError, asyncio.IncompleteReadError)
        with contextlib.closing(writer), contextlib.suppress(*left):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            value = json.loads(body or b"null")
            target = head[0].split()[1]
            self.requests.append((target, headers, value))
            if target in self.pages:
                writer.write(self.pages[target])
            elif self.choose:
                writer.write(self.choose(value))
            else:
                writer.write(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
            await writer.drain()
            if self.hold:
                await self.hold.wait()


@asynccontextmanager
async def raw_server(*answers: bytes, port: int = 0) -> AsyncIterator[RawServer]:
    """A server on a port of this machine; 0 takes a free one."""
    server = RawServer("", list(answers))
    listening = await asyncio.start_server(server.serve, "127.0.0.1", port)
    async with listening:
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield server
        if server.hold:
            server.hold.set()


def response(
    body: object, *headers: str, status: int = 200, content_type: str = "application/json"
) -> bytes:
    """A whole HTTP response; a body that is not bytes becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {status} Whatever",
        f"content-type: {content_type}",
        f"content-length: {len(content)}",
        "connection: close",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def events(*chunks: object, done: bool = True, ends: bool = True) -> bytes:
    """A streamed HTTP response of these chunks; a chunk that is bytes goes out as it is.

    Args:
        chunks: JSON, or bytes.
        done: whether `[DONE]` comes last.
        ends: whether the body ends as HTTP wants it, or the connection breaks.
    """
    content = b"".join(
        chunk if isinstance(chunk, bytes) else b"data: " + json.dumps(chunk).encode() + b"\n\n"
        for chunk in chunks
    )
    content += b"data: [DONE]\n\n" if done else b""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n"
    framed = b"%x\r\n%b\r\n" % (len(content), content) if content else b""
    return head + b"transfer-encoding: chunked\r\n\r\n" + framed + (b"0\r\n\r\n" if ends else b"")
