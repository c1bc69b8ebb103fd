"""`/api/ui`: who gets the page, with which headers, and what that costs everybody else."""

import asyncio
import gzip
import re
import sys
from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from tests.support import PROJECT
from tests.support.functions_host import HostProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHEAP_TURN = """
import sys
import agent.http.chat, agent.http.dispatch
print([name for name in sys.modules if name.startswith("agent.http.page")])
"""


@pytest_asyncio.fixture(loop_scope="session")
async def anybody(locked_host: HostProcess) -> AsyncIterator[httpx2.AsyncClient]:
    """A caller without the key that the host asks for."""
    # Plain http needs no certificates, which take long to load.
    async with httpx2.AsyncClient(base_url=locked_host.url, timeout=60, verify=False) as client:
        yield client


async def assets_of(client: httpx2.AsyncClient) -> list[str]:
    found = re.findall(r'(?:src|href)="(/api/ui/[^"]+)"', (await client.get("/api/ui")).text)
    assert len(found) == 2, "a script and a style sheet"
    return found


async def test_anybody_gets_the_page_and_nothing_else(anybody: httpx2.AsyncClient) -> None:
    assert (await anybody.get("/api/ui")).status_code == 200
    for path in ["/api/capabilities", "/api/chat?input=Hello"]:
        assert (await anybody.get(path)).status_code == 401


async def test_the_page_allows_no_script_frame_or_origin_but_its_own(
    anybody: httpx2.AsyncClient,
) -> None:
    for path in ["/api/ui", *await assets_of(anybody)]:
        headers = (await anybody.get(path)).headers
        policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["img-src"] == "'self' blob: data:"
        for directive in ("object-src", "base-uri", "form-action", "frame-ancestors"):
            assert policy[directive] == "'none'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


async def test_the_page_is_never_stored_and_its_assets_are_kept_for_ever(
    anybody: httpx2.AsyncClient,
) -> None:
    assert (await anybody.get("/api/ui")).headers["cache-control"] == "no-store"
    for path in await assets_of(anybody):
        cache_control = (await anybody.get(path)).headers["cache-control"]
        assert cache_control == "public, max-age=31536000, immutable"


async def test_who_has_the_content_already_is_not_sent_it_again(
    anybody: httpx2.AsyncClient,
) -> None:
    for path in ["/api/ui", *await assets_of(anybody)]:
        etag = (await anybody.get(path)).headers["etag"]
        again = await anybody.get(path, headers={"if-none-match": f'"other", W/{etag}'})
        assert (again.status_code, again.content) == (304, b"")
        assert (await anybody.get(path, headers={"if-none-match": '"other"'})).status_code == 200


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, br", "gzip"),
        ("br", None),
        ("identity", None),
        ("gzip;q=0", None),
        ("gzip;q=0.5", "gzip"),
    ],
)
async def test_assets_travel_compressed_to_those_who_take_it(
    anybody: httpx2.AsyncClient, accepted: str, encoding: str | None
) -> None:
    path = (await assets_of(anybody))[0]
    request = anybody.build_request("GET", path, headers={"accept-encoding": accepted})
    response = await anybody.send(request, stream=True)
    raw = b"".join([chunk async for chunk in response.aiter_raw()])
    assert response.headers.get("content-encoding") == encoding
    plain = await anybody.get(path, headers={"accept-encoding": "identity"})
    assert (gzip.decompress(raw) if encoding else raw) == plain.content
    assert "Accept-Encoding" in response.headers["vary"]


@pytest.mark.parametrize(
    "name", ["other.js", "..%2f..%2froutes.py", "__init__.py", "%00", "index.html%2f"]
)
async def test_nothing_but_the_files_of_the_page_is_served(
    anybody: httpx2.AsyncClient, name: str
) -> None:
    response = await anybody.get(f"/api/ui/{name}")
    assert response.status_code == 404
    if response.content:
        assert response.json()["code"] == "PageAssetNotFound"


async def test_other_methods_are_refused(anybody: httpx2.AsyncClient) -> None:
    response = await anybody.post("/api/ui")
    assert (response.status_code, response.headers["allow"]) == (405, "GET")


async def test_a_chat_turn_imports_nothing_of_the_page() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CHEAP_TURN), cwd=PROJECT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert (process.returncode, output.strip()) == (0, b"[]")
