"""How stand-ins listen: on loopback, for loopback."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from local.serving import PortInUseError, refuse_ports_in_use, serve
from local.tls import TlsFiles


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


@pytest.fixture
def app() -> Starlette:
    return Starlette(routes=[Route("/", hello)])


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    # Plain http needs no certificates, which take long to load.
    async with httpx2.AsyncClient(verify=False) as client:
        yield client


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "localhost:1", "[::1]:1"])
async def test_a_request_for_loopback_is_answered(
    app: Starlette, client: httpx2.AsyncClient, host: str
) -> None:
    async with serve(app) as url:
        assert (await client.get(url, headers={"host": host})).text == "hello"


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:80", "localhost.evil.example", "localhost:x", "::1"]
)
async def test_a_request_for_another_host_is_misdirected(
    app: Starlette, client: httpx2.AsyncClient, host: str
) -> None:
    async with serve(app) as url:
        answer = await client.get(url, headers={"host": host})
        assert answer.status_code == 421
        assert answer.json()["error"]["code"] == "MisdirectedRequest"


def has_ipv6_loopback() -> bool:
    addresses = Path("/proc/net/if_inet6")
    return addresses.exists() and f"{1:032x} " in addresses.read_text()


async def test_only_loopback_is_listened_on(app: Starlette) -> None:
    async with serve(app, also_ipv6=True) as url:
        port = f":{int(url.rpartition(':')[2]):04X}"
        tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
        lines = [line.split() for table in tables for line in table.read_text().splitlines()]
        listening = {line[1].partition(":")[0] for line in lines if line[1].endswith(port)}
        ipv4, ipv6 = "0100007F", "00000000000000000000000001000000"
        assert listening == ({ipv4, ipv6} if has_ipv6_loopback() else {ipv4})


async def test_a_port_in_use_is_refused(app: Starlette) -> None:
    async with serve(app) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(PortInUseError, match=f"port {port} is in use"):
            async with serve(app, port):
                pass
        with pytest.raises(PortInUseError):
            refuse_ports_in_use(port)
    refuse_ports_in_use(port)
    async with serve(app, port):
        pass


async def test_a_port_in_use_on_ipv6_alone_is_refused(app: Starlette) -> None:
    try:
        other = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")
    with other:
        port = other.getsockname()[1]
        with pytest.raises(PortInUseError):
            async with serve(app, port, also_ipv6=True):
                pass
    refuse_ports_in_use(port)


async def test_a_running_request_may_end_within_the_grace(client: httpx2.AsyncClient) -> None:
    begun, released = asyncio.Event(), asyncio.Event()

    async def waits(request: Request) -> Response:
        begun.set()
        await released.wait()
        return PlainTextResponse("done")

    async with serve(Starlette(routes=[Route("/", waits)])) as url:
        answer = asyncio.create_task(client.get(url))
        await begun.wait()
        asyncio.get_running_loop().call_later(0.2, released.set)
    assert (await answer).text == "done"


async def test_a_stream_without_end_is_cut_when_the_grace_is_over(
    client: httpx2.AsyncClient,
) -> None:
    async def endless(request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"first"
            await asyncio.Event().wait()

        return StreamingResponse(chunks())

    async with serve(Starlette(routes=[Route("/", endless)]), grace_s=0) as url:
        stream = client.stream("GET", url)
        answer = await stream.__aenter__()
        chunks = answer.aiter_bytes()
        assert await anext(chunks) == b"first"
    with pytest.raises(httpx2.RemoteProtocolError):
        await anext(chunks)
    await stream.__aexit__(None, None, None)


async def test_tls_is_served_with_the_given_certificate(app: Starlette, tmp_path: Path) -> None:
    tls = TlsFiles(tmp_path)
    certificate = tls.server_files()
    context = ssl.create_default_context(cafile=tls.authority)
    async with (
        serve(app, tls_files=certificate) as url,
        httpx2.AsyncClient(verify=context) as client,
    ):
        assert url.startswith("https://")
        assert (await client.get(url)).text == "hello"


async def test_another_host_name_is_in_the_certificate_and_passes_the_host_check(
    app: Starlette, tmp_path: Path
) -> None:
    name = "pool.dynamicsessions.io"
    TlsFiles(tmp_path).server_files()
    tls = TlsFiles(tmp_path, name)
    files = tls.server_files()
    context = ssl.create_default_context(cafile=str(tls.authority))
    async with serve(app, tls_files=files, host_name=name) as url:
        port = int(url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname=name
        )
        request = f"GET / HTTP/1.1\r\nHost: {name}:{port}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
        async with httpx2.AsyncClient(verify=context) as http:
            answer = await http.get(url, headers={"host": "other.dynamicsessions.io"})
            assert answer.status_code == 421
            assert (await http.get(url)).status_code == 200
