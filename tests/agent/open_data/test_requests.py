"""What a download sends, and to whom: names, addresses, certificates, proxies, credentials."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from agent.open_data.addresses import is_public
from agent.open_data.download import Bounds, Download
from agent.open_data.errors import FetchError
from tests.support.https_sites import Site
from tests.support.open_data import CSV, URL, OpenDataHosts, ok, redirect

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_file_arrives_with_its_name_and_type(hosts: OpenDataHosts) -> None:
    assert await hosts.get() == Download("data.csv", "text/csv", CSV, "data.example.org")


async def test_a_request_says_what_it_wants_and_nothing_else(hosts: OpenDataHosts) -> None:
    await hosts.get("https://data.example.org:443/data.csv#part")
    request_line, *headers = hosts.site.requests[0].removesuffix("\r\n\r\n").split("\r\n")
    assert request_line == "GET /data.csv HTTP/1.1"
    assert sorted(headers) == [
        "Accept-Encoding: identity",
        "Accept: */*",
        "Connection: close",
        "Host: data.example.org",
        "User-Agent: functions-code-interpreter",
    ]


async def test_an_encoded_end_of_line_stays_encoded(hosts: OpenDataHosts) -> None:
    target = "/a%0D%0AX-Evil:%201%0D%0A%0D%0AGET%20/b"
    hosts.site.answers[target] = ok()
    await hosts.get(f"https://data.example.org{target}")
    assert [head.split("\r\n")[0] for head in hosts.site.requests] == [f"GET {target} HTTP/1.1"]


async def test_a_host_that_is_not_allowed_is_not_even_looked_up(hosts: OpenDataHosts) -> None:
    with pytest.raises(FetchError, match=r"Host not allowed: evil\.example"):
        await hosts.get("https://evil.example/data.csv")
    assert hosts.web.names.asked == []
    assert hosts.evil.connections == 0


async def test_a_name_that_leads_nowhere_is_said_to(hosts: OpenDataHosts) -> None:
    with pytest.raises(FetchError, match=r"There is no host of the name none\.open\.example"):
        await hosts.get("https://none.open.example/data.csv")


async def test_a_private_address_is_not_connected_to(hosts: OpenDataHosts) -> None:
    with pytest.raises(FetchError, match="leads to an address that is not public"):
        await hosts.get(is_allowed_address=is_public)
    assert hosts.site.connections == 0
    assert (await hosts.get()).content == CSV
    assert hosts.site.connections == 1


@pytest.mark.parametrize("inside_first", [True, False])
async def test_one_private_address_among_others_is_enough_to_refuse(
    hosts: OpenDataHosts, inside_first: bool
) -> None:
    sites = [hosts.inside, hosts.site] if inside_first else [hosts.site, hosts.inside]
    hosts.web.names.answers["data.example.org"] = [sites]
    with pytest.raises(FetchError, match="leads to an address that is not public"):
        await hosts.get()
    assert hosts.site.connections == hosts.inside.connections == 0
    hosts.web.names.answers["data.example.org"] = [[hosts.site, hosts.site]]
    assert (await hosts.get()).content == CSV


async def test_a_name_that_changes_after_the_check_is_not_asked_again(hosts: OpenDataHosts) -> None:
    hosts.web.names.answers["data.example.org"] = [[hosts.site], [hosts.inside]]
    assert (await hosts.get()).content == CSV
    assert hosts.web.names.asked == ["data.example.org"]
    # Each connection has a look-up and a check of its own.
    with pytest.raises(FetchError, match="leads to an address that is not public"):
        await hosts.get()
    assert hosts.inside.connections == 0
    # The probe would reach it.
    assert (await hosts.get(is_allowed_address=lambda _: True)).content == CSV
    assert hosts.inside.connections == 1


async def test_a_name_that_changes_between_redirects_leads_nowhere(hosts: OpenDataHosts) -> None:
    hosts.site.answers["/moved"] = redirect("/data.csv")
    names = hosts.web.names.answers
    names["data.example.org"] = [[hosts.site], [hosts.inside]]
    with pytest.raises(FetchError, match="leads to an address that is not public"):
        await hosts.get("https://data.example.org/moved")
    assert hosts.inside.connections == 0
    names["data.example.org"] = [[hosts.site], [hosts.site]]
    assert (await hosts.get("https://data.example.org/moved")).content == CSV


async def test_a_name_without_addresses_leads_nowhere(hosts: OpenDataHosts) -> None:
    hosts.web.names.answers["data.example.org"] = [[]]
    with pytest.raises(FetchError, match=r"There is no host of the name data\.example\.org"):
        await hosts.get()


async def test_the_model_reads_a_name_as_it_is_sent(hosts: OpenDataHosts) -> None:
    """Decoded, this one would look like another."""
    with pytest.raises(FetchError, match=r"the name xn--80ak6aa92e\.open\.example"):
        await hosts.get("https://xn--80ak6aa92e.open.example/")


@pytest.mark.parametrize("host", ["fe80::1%eth0", "::ffff:127.0.0.1", "168.63.129.16"])
async def test_addresses_of_a_resolver_are_checked_in_every_form(
    hosts: OpenDataHosts, host: str
) -> None:
    hosts.web.names.answers["data.example.org"] = [[Site(host)]]
    with pytest.raises(FetchError, match="leads to an address that is not public"):
        await hosts.get(is_allowed_address=is_public)


async def test_a_certificate_of_another_name_ends_it(hosts: OpenDataHosts) -> None:
    hosts.web.names.answers["data.example.org"] = [[hosts.other]]
    with pytest.raises(FetchError, match="no certificate that is valid for its name"):
        await hosts.get()
    assert hosts.other.connections == 1
    assert hosts.other.requests == []
    assert (await hosts.get("https://www.open.example/data.csv")).content == CSV


async def test_an_authority_that_is_not_trusted_ends_it(hosts: OpenDataHosts) -> None:
    with pytest.raises(FetchError, match="no certificate that is valid for its name"):
        await hosts.get(tls=ssl.create_default_context())
    assert hosts.site.requests == []


async def test_a_host_without_tls_gets_no_request(hosts: OpenDataHosts) -> None:
    plain = await hosts.web.open_without_tls("plain.open.example")
    plain.answers["/data.csv"] = ok()
    with pytest.raises(FetchError):
        await hosts.get("https://plain.open.example/data.csv", bounds=Bounds(timeout_s=0.2))
    assert plain.requests == []
    async with aiohttp.ClientSession() as client:
        url = f"http://{plain.address}:{plain.port}/data.csv"
        assert await (await client.get(url)).read() == CSV


async def test_a_host_that_does_not_listen_is_said_to(hosts: OpenDataHosts) -> None:
    hosts.web.names.answers["data.example.org"] = [[Site("127.0.0.1", port=1)]]
    with pytest.raises(FetchError, match=r"There is no connection to data\.example\.org"):
        await hosts.get()


@contextlib.asynccontextmanager
async def proxy(monkeypatch: pytest.MonkeyPatch, folder: Path) -> AsyncIterator[list[str]]:
    """A proxy and a password in the environment; what the proxy is asked for."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 502 No\r\n\r\n")
        writer.close()

    netrc = folder / "netrc"
    netrc.write_text("default login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        yield asked


async def test_a_proxy_and_passwords_of_the_environment_are_not_used(
    hosts: OpenDataHosts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with proxy(monkeypatch, tmp_path) as asked:
        assert (await hosts.get()).content == CSV
        assert asked == []
        assert "secret" not in hosts.site.requests[0]
        assert "Authorization" not in hosts.site.requests[0]
        # What a client does that trusts the environment.
        async with aiohttp.ClientSession(trust_env=True) as client:
            with pytest.raises(aiohttp.ClientHttpProxyError):
                await client.get(URL)
        assert asked[0].startswith("CONNECT data.example.org:443")


async def test_cookies_of_one_answer_are_in_no_other_request(hosts: OpenDataHosts) -> None:
    cookie = "Set-Cookie: id=1; Path=/; Secure"
    hosts.site.answers["/moved"] = redirect("/data.csv").replace(
        b"\r\nContent-Length", f"\r\n{cookie}\r\nContent-Length".encode()
    )
    hosts.site.answers["/data.csv"] = ok(CSV, cookie)
    for _ in range(2):
        await hosts.get("https://data.example.org/moved")
    assert len(hosts.site.requests) == 4
    assert not any("cookie" in head.lower() for head in hosts.site.requests)
    # What a client does that keeps cookies.
    connector = aiohttp.TCPConnector(resolver=hosts.web.names, ssl=hosts.web.tls)
    async with aiohttp.ClientSession(connector=connector) as client:
        await (await client.get("https://data.example.org/moved")).read()
    assert "Cookie: id=1" in hosts.site.requests[-1]


async def test_every_connection_is_to_an_address_that_was_checked(hosts: OpenDataHosts) -> None:
    checked: list[str] = []

    def is_allowed(address: object) -> bool:
        checked.append(str(address))
        return True

    hosts.site.answers["/moved"] = redirect("https://www.open.example/moved")
    hosts.other.answers["/moved"] = redirect(URL)
    await hosts.get("https://data.example.org/moved", is_allowed_address=is_allowed)
    assert checked == ["127.0.0.1"] * 3
    assert (hosts.site.connections, hosts.other.connections) == (2, 1)
