"""Pictures at https addresses: fetched from the hosts that the operator named, and no others."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from starlette.requests import Request

from agent.errors import AgentError, SettingsError
from agent.http.dispatch import dispatch
from agent.http.pictures import Fetch, fetched
from agent.open_data.download import Bounds, OpenData
from agent.open_data.hosts import AllowedHosts
from agent.pictures import PIXELS_MAX
from agent.runtime import close_runtime
from agent.turns.turn import stateless_turn
from local.azure_openai import CallTool, Say
from local.defaults import DEPLOYMENT
from tests.agent.http.test_pictures import SURFACES, Surface, by_openai, openai_image, shown
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.https_sites import Site, Web, is_this_machine, web
from tests.support.open_data import ok, redirect
from tests.support.pictures import PICTURES, data_url
from tests.support.turns import collect, tool_results

pytestmark = pytest.mark.asyncio(loop_scope="session")

PNG = PICTURES["image/png"]
HOST = "https://pictures.example.org"
URL = f"{HOST}/a.png?size=2"
HUGE = PNG[:16] + (PIXELS_MAX + 1).to_bytes(4) + (1).to_bytes(4) + PNG[24:]


@dataclass(frozen=True)
class Hosts:
    """Where pictures are, and hosts that must not be asked."""

    web: Web
    forbidden: tuple[Site, ...]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hosts(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hosts]:
    async with web(tmp_path_factory.mktemp("tls")) as opened:
        site = await opened.open("pictures.example.org")
        evil = await opened.open("evil.example")
        inside = await opened.open("inside.example.org", address="127.0.0.2")
        await opened.open("untrusted.example.org", trusted=False)
        for each in (site, evil, inside):
            each.answers = {"/a.png": ok(PNG), "/a.png?size=2": ok(PNG)}
        site.answers |= {
            "/b.gif": ok(PICTURES["image/gif"]),
            "/table.csv": ok(b"city,people\n"),
            "/empty": ok(b""),
            "/huge.png": ok(HUGE),
            "/long.png": ok(PNG + bytes(100_000)),
            "/elsewhere": redirect("https://evil.example/a.png"),
            "/inside": redirect("https://inside.example.org/a.png"),
            "/here": redirect("/a.png"),
            "/gone": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        }
        yield Hosts(opened, (evil, inside))


@pytest.fixture
def fetch(hosts: Hosts) -> Fetch:
    """What the runtime offers, but for where names lead here."""
    open_data = OpenData(
        AllowedHosts.parse("*.example.org"),
        hosts.web.tls,
        bounds=Bounds(max_bytes=50_000, timeout_s=5),
        resolver=hosts.web.names,
        is_allowed_address=is_this_machine,
    )

    async def get(address: str) -> bytes:
        return (await open_data.get(address)).content

    return get


@pytest.mark.parametrize("surface", SURFACES)
async def test_a_picture_of_an_allowed_host_is_as_one_that_came_with_the_question(
    fetch: Fetch, azure: SharedAzure, open_runtime: OpenRuntime, surface: Surface
) -> None:
    asked = await surface([URL, f"{HOST}/b.gif", f"{HOST}/here"])
    asked = await fetched(asked, fetch)
    assert asked.to_fetch == ()
    code = "import os; print(*sorted(os.listdir('/mnt/data')))"
    async with open_runtime(azure_openai_vision="questions") as runtime:
        with azure.model.script(CallTool(code=code), Say("Two.")) as script:
            turn = await collect(stateless_turn(runtime.turns, asked))
    seen = shown(script.requests[0])
    # The same content is the same picture, wherever it came from.
    assert [content for _, content, _ in seen] == [PNG, PICTURES["image/gif"]]
    assert tool_results(script.requests[1])[0].count("picture-") == 2
    assert turn.finished.warnings == ()


@pytest.mark.parametrize("surface", SURFACES)
async def test_each_picture_has_its_place_in_the_question(fetch: Fetch, surface: Surface) -> None:
    jpeg, webp = data_url(PICTURES["image/jpeg"]), data_url(PICTURES["image/webp"])
    for urls, kinds in {
        (f"{HOST}/b.gif", jpeg, URL, webp): ["gif", "jpeg", "png", "webp"],
        (jpeg, f"{HOST}/b.gif", URL, jpeg): ["jpeg", "gif", "png"],
        (webp, URL, f"{HOST}/b.gif"): ["webp", "png", "gif"],
    }.items():
        asked = await fetched(await surface([*urls]), fetch)
        assert [p.media_type.removeprefix("image/") for p in asked.pictures] == kinds


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    ("url", "status", "words"),
    [
        ("https://evil.example/a.png", 400, "Host not allowed: evil.example. Allowed hosts: *.ex"),
        (f"{HOST}/elsewhere", 400, "redirects elsewhere"),
        (f"{HOST}/inside", 400, "leads to an address that is not public"),
        ("https://inside.example.org/a.png", 400, "leads to an address that is not public"),
        ("https://untrusted.example.org/a.png", 400, "no certificate that is valid"),
        ("https://nowhere.example.org/a.png", 400, "no host of the name"),
        ("https://user:pw@pictures.example.org/a.png", 400, "without user, password"),
        ("https://pictures.example.org:8443/a.png", 400, "without user, password"),
        ("HTTPS://127.0.0.1/a.png", 400, "was not fetched"),
        ("https://", 400, "was not fetched"),
        (f"{HOST}/gone", 400, "HTTP 404"),
        (f"{HOST}/long.png", 400, "larger than 50,000 bytes"),
        (f"{HOST}/table.csv", 400, "is no picture"),
        (f"{HOST}/empty", 400, "is no picture"),
        (f"{HOST}/huge.png", 413, "pixels"),
        ("http://pictures.example.org/a.png", 400, "is not fetched"),
    ],
)
async def test_what_is_not_there_is_refused_by_the_field_of_each_api(
    fetch: Fetch, surface: Surface, url: str, status: int, words: str
) -> None:
    with pytest.raises(AgentError) as refused:
        await fetched(await surface([url]), fetch)
    assert refused.value.status == status
    assert refused.value.field == SURFACES[surface]
    assert f"`{SURFACES[surface]}` " in refused.value.detail
    assert words in refused.value.detail


async def test_nobody_but_the_allowed_hosts_is_asked(fetch: Fetch, hosts: Hosts) -> None:
    control = await fetched(await by_openai([URL]), fetch)
    assert [picture.content for picture in control.pictures] == [PNG]
    for url in ("https://evil.example/a.png", f"{HOST}/elsewhere", f"{HOST}/inside"):
        with pytest.raises(AgentError):
            await fetched(await by_openai([url]), fetch)
    assert [site.connections for site in hosts.forbidden] == [0, 0]


async def test_the_address_of_an_earlier_message_is_not_asked_again() -> None:
    before = {"role": "user", "content": [openai_image(URL), {"type": "text", "text": "Eh?"}]}
    asked = await by_openai([], before, {"role": "assistant", "content": "A cat."})
    assert asked.to_fetch == ()
    assert asked.history[0].text == "Eh?\n[image, not fetched again]"


async def test_eleven_addresses_are_too_many() -> None:
    with pytest.raises(AgentError, match="has 11 pictures; a question may have 10"):
        await by_openai([f"{HOST}/{n}.png" for n in range(11)])


async def test_a_wrong_host_stops_the_start(open_runtime: OpenRuntime) -> None:
    with pytest.raises(SettingsError, match="OPEN_DATA_HOSTS: entry 1 is not the name of a host"):
        async with open_runtime(open_data_hosts="https://example.org"):
            pass


ADDRESS = "https://elsewhere.example/a.png"
RUN = {"threadId": "t", "runId": "r", "tools": [], "context": [], "state": {}, "forwardedProps": {}}
PART = {"type": "image", "source": {"type": "url", "value": ADDRESS}}
ASKED: dict[str, dict[str, object]] = {
    "chat": {"input": "Eh?", "images": [ADDRESS]},
    "agui": RUN | {"messages": [{"id": "1", "role": "user", "content": [PART]}]},
    "completions": {
        "model": DEPLOYMENT,
        "messages": [{"role": "user", "content": [openai_image(ADDRESS)]}],
    },
}


@pytest.mark.parametrize(
    ("hosts_setting", "words"),
    [
        ("", "The app setting OPEN_DATA_HOSTS names hosts"),
        ("*.example.org", "Host not allowed: elsewhere.example. Allowed hosts: *.example.org"),
    ],
)
@pytest.mark.parametrize("route", ASKED)
async def test_each_route_asks_the_hosts_of_the_setting(
    azure: SharedAzure,
    identity_endpoint: None,
    monkeypatch: pytest.MonkeyPatch,
    route: str,
    hosts_setting: str,
    words: str,
) -> None:
    for name, value in azure.stack.app_settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OPEN_DATA_HOSTS", hosts_setting)
    body = json.dumps(ASKED[route]).encode()
    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body}

    try:
        answer = await dispatch(route, Request(scope, receive), sign_in_required=False)
    finally:
        await close_runtime()
    assert answer.status_code == 400
    assert words in bytes(answer.body).decode()
