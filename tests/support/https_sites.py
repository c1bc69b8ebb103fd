"""Hosts of the web on this machine: real https, certificates of their own names, names to look up.

Each test says what goes over the wire, HTTP and all, and where a name leads.
"""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp.abc import AbstractResolver, ResolveResult

from local.tls import TlsFiles

type Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Site:
    """A host.

    Attributes:
        address: where it listens.
        port: likewise.
        answers: target of a request → what is sent.
        requests: the heads of the requests that came.
        connections: how many there were, whatever came of them.
        tls: its certificate; None for a host that speaks HTTP without TLS.
    """

    address: str
    port: int = 0
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    connections: int = 0

    tls: ssl.SSLContext | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if self.tls:
                await writer.start_tls(self.tls)
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(head)
            answer = self.answers[head.split()[1]]
            if isinstance(answer, bytes):
                writer.write(answer)
            else:
                await answer(writer)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()


class Names(AbstractResolver):
    """Looks names up: each time the next of its answers, the last one again and again.

    Attributes:
        answers: name → sites.
        asked: the names that were looked up.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[list[Site]]] = {}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See AbstractResolver."""
        self.asked.append(host)
        if host not in self.answers:
            raise OSError(f"no such host: {host}")
        answers = self.answers[host]
        sites = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=site.address,
                port=site.port,
                family=socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for site in sites
        ]

    async def close(self) -> None:
        """See AbstractResolver."""


class Web:
    """All hosts of a test.

    Attributes:
        names: what leads where.
        tls: trusts the hosts' authorities.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = contextlib.AsyncExitStack()
        self.names = Names()
        self.tls = ssl.create_default_context()

    async def open(self, name: str, *, address: str = "127.0.0.1", trusted: bool = True) -> Site:
        """Start a host with a certificate of that name, which leads there from now on."""
        files = TlsFiles(self._folder / f"{name}-{address}-{trusted}", host_name=name)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*files.server_files())
        if trusted:
            self.tls.load_verify_locations(files.authority)
        return await self._listen(name, Site(address, tls=context))

    async def open_without_tls(self, name: str) -> Site:
        """Start a host that speaks HTTP without TLS."""
        return await self._listen(name, Site("127.0.0.1"))

    async def _listen(self, name: str, site: Site) -> Site:
        server = await asyncio.start_server(site.serve, site.address, 0)
        await self._stack.enter_async_context(server)
        site.port = server.sockets[0].getsockname()[1]
        self.names.answers[name] = [[site]]
        return site

    async def aclose(self) -> None:
        """Stop all hosts."""
        await self._stack.aclose()


@contextlib.asynccontextmanager
async def web(folder: Path) -> AsyncIterator[Web]:
    """Hosts with certificates in a folder."""
    opened = Web(folder)
    try:
        yield opened
    finally:
        await opened.aclose()


def is_this_machine(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Allows 127.0.0.1 alone: another address of loopback is a private one for these tests."""
    return str(address) == "127.0.0.1"
