import re

import pytest

from agent.open_data.download import REDIRECTS_MAX
from agent.open_data.errors import FetchError
from tests.support.open_data import CSV, OpenDataHosts, redirect

pytestmark = pytest.mark.asyncio(loop_scope="session")

MOVED = "https://data.example.org/a/moved"


@pytest.mark.parametrize(
    ("location", "status"),
    [
        ("/data.csv", 301),
        ("../data.csv", 302),
        ("//data.example.org/data.csv", 303),
        ("///data.csv", 307),  # an empty host is the same one
        ("https://data.example.org/data.csv", 308),
        ("HTTPS://DATA.EXAMPLE.ORG:443/data.csv#part", 302),
        ("https://www.open.example/data.csv", 302),
    ],
)
async def test_a_redirect_to_an_allowed_host_is_followed(
    hosts: OpenDataHosts, location: str, status: int
) -> None:
    hosts.site.answers["/a/moved"] = redirect(location, status)
    assert (await hosts.get(MOVED)).content == CSV


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example/data.csv",
        "//evil.example/data.csv",
        "http://data.example.org/data.csv",
        "https://data.example.org:8443/data.csv",
        "https://user@data.example.org/data.csv",
        "https://data.example.org@evil.example/data.csv",
        "https://data.example.org./data.csv",
        "https://evil.example\\@data.example.org/data.csv",
        "\\\\evil.example\\data.csv",
        "/\\evil.example/data.csv",
        "https://127.0.0.1/data.csv",
        "https://[::1]/data.csv",
        "https://[::1/data.csv",
        "https://169.254.169.254/metadata/instance",
        "https://2130706433/data.csv",
        "file:///etc/passwd",
        "ftp://data.example.org/data.csv",
        "data:text/csv,a",
        "javascript:alert(1)",
        "https://d\u0430ta.example.org/data.csv",  # a Cyrillic letter
        "https://data.example.org/\udcff.csv",
        "https://data.example.org/a b.csv",
        "https://data.example.org/" + "a" * 3000,
    ],
)
async def test_a_redirect_to_anywhere_else_is_not_followed(
    hosts: OpenDataHosts, location: str
) -> None:
    hosts.site.answers["/a/moved"] = redirect(location)
    hosts.web.names.asked.clear()
    with pytest.raises(FetchError, match=r"^data\.example\.org redirects "):
        await hosts.get(MOVED)
    assert hosts.web.names.asked == ["data.example.org"]
    assert [len(site.requests) for site in (hosts.site, hosts.other, hosts.evil)] == [1, 0, 0]


async def test_a_refused_redirect_names_the_host_and_those_that_are_allowed(
    hosts: OpenDataHosts,
) -> None:
    hosts.site.answers["/a/moved"] = redirect("https://evil.example/?secret=1")
    words = (
        "data.example.org redirects elsewhere. Host not allowed: evil.example. Allowed hosts: "
        "data.example.org, *.open.example."
    )
    with pytest.raises(FetchError, match=f"^{re.escape(words)}$"):
        await hosts.get(MOVED)


async def test_a_redirect_without_a_target_comes_round_and_ends(hosts: OpenDataHosts) -> None:
    hosts.site.answers["/a/moved"] = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(FetchError, match=f"redirects more than {REDIRECTS_MAX} times"):
        await hosts.get(MOVED)
    assert len(hosts.site.requests) == REDIRECTS_MAX + 1


async def test_as_many_redirects_as_are_allowed_lead_to_the_file(hosts: OpenDataHosts) -> None:
    for number in range(REDIRECTS_MAX - 1):
        hosts.site.answers[f"/a/{number}"] = redirect(str(number + 1))
    hosts.site.answers["/a/moved"] = redirect("0")
    hosts.site.answers[f"/a/{REDIRECTS_MAX - 1}"] = redirect("/data.csv")
    assert (await hosts.get("https://data.example.org/a/0")).content == CSV
    with pytest.raises(FetchError, match="redirects more than"):
        await hosts.get(MOVED)


async def test_the_body_of_a_redirect_is_not_waited_for(hosts: OpenDataHosts) -> None:
    endless = redirect("/data.csv").replace(b"Content-Length: 0", b"Content-Length: 9999999999")
    hosts.site.answers["/a/moved"] = endless + b"x"
    assert (await hosts.get(MOVED)).content == CSV
