"""What callers and the app see of the local App Service Authentication."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from local import defaults
from local.app_service_auth import EXCLUDED_PATHS, PEOPLE, AppServiceAuth
from local.managed_identity import SYSTEM_ASSIGNED, ManagedIdentity
from tests.local.managed_identity.conftest import Clock

ORIGIN = "http://localhost:7071"
EVIL = "https://evil.example"
IDENTITY = ManagedIdentity(clock=Clock())
ADA = PEOPLE["ada@example.com"]
COOKIE = "AppServiceAuthSession"
FORGED = {
    "x-ms-client-principal-id": "somebody-else",
    "X-MS-CLIENT-PRINCIPAL-IDP": "aad",
    "X-MS-CLIENT-PRINCIPAL-NAME": "boss@example.com",
    "X-MS-CLIENT-PRINCIPAL": "e30=",
    "X-MS-TOKEN-AAD-ACCESS-TOKEN": "forged",
}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that answers with the headers it gets."""
    request = Request(scope, receive)
    await JSONResponse(dict(request.headers))(scope, receive, send)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def browser(clock: Clock) -> AsyncIterator[httpx2.AsyncClient]:
    """A browser that nobody has signed in with."""
    front = AppServiceAuth(echo, public_key=IDENTITY.public_key, clock=clock)
    transport = httpx2.ASGITransport(front)
    async with httpx2.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        yield client


async def sign_in(
    browser: httpx2.AsyncClient,
    user: str = "ada@example.com",
    target: str | None = None,
    **headers: str,
) -> httpx2.Response:
    form = {"user": user} | ({} if target is None else {"post_login_redirect_uri": target})
    return await browser.post("/.auth/login/aad/callback", data=form, headers=headers)


def seen_by_app(answer: httpx2.Response) -> dict[str, str]:
    assert answer.status_code == 200, answer.text
    headers: dict[str, str] = answer.json()
    return {name: value for name, value in headers.items() if name.startswith("x-ms-")}


async def test_a_stranger_is_refused_and_told_how_to_come_in(browser: httpx2.AsyncClient) -> None:
    answer = await browser.get("/api/chat?input=Hello", headers=FORGED)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert "/.auth/login/aad" in answer.text


@pytest.mark.parametrize("path", sorted(EXCLUDED_PATHS))
async def test_an_excluded_path_is_open_and_its_caller_is_nobody(
    browser: httpx2.AsyncClient, path: str
) -> None:
    assert seen_by_app(await browser.get(path, headers=FORGED)) == {}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/health/live/",
        "/api/health/ready",
        "/api/ui/",
        "/api/ui/other.js",
        "/api/ui%2fapp.js",
        "/api/ui/../chat",
        "/api/uix",
        "/admin/host/status",
        "/.authx",
    ],
)
async def test_no_other_path_is_open(browser: httpx2.AsyncClient, path: str) -> None:
    assert (await browser.get(path)).status_code == 401


async def test_the_app_is_told_who_signed_in(browser: httpx2.AsyncClient) -> None:
    await sign_in(browser)
    headers_seen = seen_by_app(await browser.get("/api/chat", headers=FORGED))
    principal = json.loads(base64.b64decode(headers_seen.pop("x-ms-client-principal")))
    assert headers_seen == {
        "x-ms-client-principal-id": ADA.object_id,
        "x-ms-client-principal-idp": "aad",
        "x-ms-client-principal-name": "ada@example.com",
    }
    assert principal["auth_typ"] == "aad"
    assert {"typ": "name", "val": "Ada Lovelace"} in principal["claims"]
    assert principal.keys() == {"auth_typ", "claims", "name_typ", "role_typ"}


async def test_two_people_are_two_callers(browser: httpx2.AsyncClient) -> None:
    ids = set()
    for user in PEOPLE:
        await sign_in(browser, user)
        ids.add(seen_by_app(await browser.get("/api/chat"))["x-ms-client-principal-id"])
    assert len(ids) == len(PEOPLE) == 2


async def test_the_page_of_the_sign_in_offers_both_people(browser: httpx2.AsyncClient) -> None:
    page = await browser.get("/.auth/login/aad?post_login_redirect_uri=/api/ui%23%22%3E<b>")
    assert all(str(p.user_name) in page.text and p.name in page.text for p in PEOPLE.values())
    assert "&quot;&gt;&lt;b&gt;" in page.text
    assert "script-src" not in page.headers["content-security-policy"]
    assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_the_cookie_is_for_this_site_alone_and_no_script_reads_it(
    browser: httpx2.AsyncClient,
) -> None:
    cookie = (await sign_in(browser)).headers["set-cookie"]
    assert {"Path=/", "HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))


@pytest.mark.parametrize(
    ("given", "led_to"),
    [
        ("/api/ui", "/api/ui"),
        ("/api/ui#" + "a" * 32, "/api/ui#" + "a" * 32),
        ("/a?b=//c", "/a?b=//c"),
        (f"{ORIGIN}/api/ui", "/api/ui"),
        (ORIGIN, "/"),
        ("", "/"),
        (None, "/.auth/login/done"),
    ],
)
async def test_a_browser_is_led_back_to_where_it_was(
    browser: httpx2.AsyncClient, given: str | None, led_to: str
) -> None:
    answer = await sign_in(browser, target=given)
    assert (answer.status_code, answer.headers["location"]) == (303, led_to)


@pytest.mark.parametrize(
    "target",
    [
        EVIL,
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "\n//evil.example",
        " //evil.example",
        f"{ORIGIN}.evil.example/",
        f"{ORIGIN}@evil.example/",
        f"{ORIGIN}//evil.example",
        "http://localhost:9999/",
        "javascript:alert(1)",
        "data:text/html,x",
        "evil.example",
        "/a\r\nset-cookie: x=1",
    ],
)
async def test_a_browser_is_never_led_to_another_origin(
    browser: httpx2.AsyncClient, target: str
) -> None:
    answer = await sign_in(browser, target=target)
    assert answer.status_code == 400
    assert "set-cookie" not in answer.headers
    way_out = f"/.auth/logout?post_logout_redirect_uri={quote(target)}"
    way_in = f"/.auth/login/aad?post_login_redirect_uri={quote(target)}"
    for path in (way_in, way_out):
        answer = await browser.get(path)
        assert (answer.status_code, answer.headers.get("location")) == (400, None)


async def test_nobody_signs_in_under_a_name_that_is_not_offered(
    browser: httpx2.AsyncClient,
) -> None:
    for user in ("", "root", "Ada Lovelace"):
        answer = await sign_in(browser, user)
        assert (answer.status_code, "set-cookie" in answer.headers) == (400, False)


async def test_me_tells_who_signed_in_as_the_service_does(browser: httpx2.AsyncClient) -> None:
    assert (await browser.get("/.auth/me")).status_code == 401
    await sign_in(browser)
    [me] = (await browser.get("/.auth/me")).json()
    assert (me["provider_name"], me["user_id"]) == ("aad", "ada@example.com")
    assert {"typ": "name", "val": "Ada Lovelace"} in me["user_claims"]


async def test_whoever_signed_out_is_a_stranger_even_with_the_old_cookie(
    browser: httpx2.AsyncClient,
) -> None:
    await sign_in(browser)
    old = browser.cookies[COOKIE]
    answer = await browser.get("/.auth/logout?post_logout_redirect_uri=/api/ui")
    assert (answer.status_code, answer.headers["location"]) == (302, "/api/ui")
    assert COOKIE not in browser.cookies
    again = await browser.get("/api/chat", headers={"cookie": f"{COOKIE}={old}"})
    assert again.status_code == 401


async def test_a_session_ends_after_eight_hours(browser: httpx2.AsyncClient, clock: Clock) -> None:
    await sign_in(browser)
    clock.now += 8 * 3600 - 1
    assert (await browser.get("/api/chat")).status_code == 200
    clock.now += 2
    assert (await browser.get("/api/chat")).status_code == 401


@pytest.mark.parametrize(
    "cookie", ["x", f"{COOKIE}=", f"{COOKIE}=guess", f'{COOKIE}="', "=;;;", f"{COOKIE}=a b"]
)
async def test_a_cookie_that_was_not_given_is_none(
    browser: httpx2.AsyncClient, cookie: str
) -> None:
    assert (await browser.get("/api/chat", headers={"cookie": cookie})).status_code == 401


CROSS_SITE: dict[str, tuple[str, dict[str, str]]] = {
    "a post of another origin": ("POST", {"origin": EVIL}),
    "a deletion of another origin": ("DELETE", {"origin": EVIL}),
    "an origin without a name": ("POST", {"origin": "null"}),
    "another port of this machine": ("POST", {"origin": "http://localhost:3000"}),
    "https in place of http": ("POST", {"origin": "https://localhost:7071"}),
    "another name of this machine": ("POST", {"origin": "http://127.0.0.1:7071"}),
    "a read by another origin": ("GET", {"origin": EVIL}),
    "a picture of another site": ("GET", {"sec-fetch-site": "cross-site"}),
    "a link of another site": (
        "GET",
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    ),
    "a page of another port": ("GET", {"sec-fetch-site": "same-site"}),
    "an old browser": ("POST", {"referer": f"{EVIL}/page"}),
    "an old browser, look-alike": ("POST", {"referer": f"{ORIGIN}.evil.example/"}),
}


@pytest.mark.parametrize("name", CROSS_SITE)
async def test_a_request_of_another_site_may_not_use_the_cookie(
    browser: httpx2.AsyncClient, name: str
) -> None:
    method, headers = CROSS_SITE[name]
    await sign_in(browser)
    path = "/api/chat?input=spend"
    assert (await browser.request(method, path, headers=headers)).status_code == 403
    assert (await browser.request(method, path)).status_code == 200
    open_to_all = await browser.request(method, "/api/ui", headers=headers)
    assert seen_by_app(open_to_all) == {}
    if method == "GET":
        assert (await browser.get("/.auth/me", headers=headers)).status_code == 403
        assert (await browser.get("/.auth/logout", headers=headers)).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": ORIGIN, "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"referer": f"{ORIGIN}/api/ui"},
        {},
    ],
    ids=["its own page", "the address bar", "an old browser", "a script"],
)
async def test_a_request_of_this_site_uses_the_cookie(
    browser: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    await sign_in(browser)
    assert seen_by_app(await browser.post("/api/chat", headers=headers))


async def test_another_site_signs_nobody_in(browser: httpx2.AsyncClient) -> None:
    answer = await sign_in(browser, origin=EVIL)
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


@pytest.mark.parametrize("audience", [defaults.SIGN_IN_AUDIENCE, defaults.SIGN_IN_CLIENT_ID])
async def test_a_script_comes_in_with_a_token(browser: httpx2.AsyncClient, audience: str) -> None:
    # A token belongs to whoever sends it: no other site can make a browser do that.
    headers = FORGED | {"authorization": f"Bearer {IDENTITY.mint(audience)}", "origin": EVIL}
    headers_seen = seen_by_app(await browser.get("/api/chat", headers=headers))
    assert headers_seen["x-ms-client-principal-id"] == SYSTEM_ASSIGNED.object_id
    assert headers_seen["x-ms-client-principal-idp"] == "aad"
    assert "x-ms-client-principal-name" not in headers_seen


TOKENS = {
    "of another audience": IDENTITY.mint(defaults.STORAGE_AUDIENCE),
    "expired": IDENTITY.mint(defaults.SIGN_IN_AUDIENCE, lifetime_s=-3600),
    "of another issuer": ManagedIdentity(clock=Clock()).mint(defaults.SIGN_IN_AUDIENCE),
    "no token": "x",
    "empty": "",
}


@pytest.mark.parametrize("name", TOKENS)
async def test_a_token_that_is_not_for_this_app_lets_nobody_in(
    browser: httpx2.AsyncClient, name: str
) -> None:
    await sign_in(browser)  # nor does the cookie beside it
    headers = {"authorization": f"Bearer {TOKENS[name]}"}
    answer = await browser.get("/api/chat", headers=headers)
    assert answer.status_code == 401
    assert TOKENS[name] == "" or TOKENS[name] not in answer.text.split()


async def test_without_an_identity_no_token_is_accepted() -> None:
    transport = httpx2.ASGITransport(AppServiceAuth(echo))
    headers = {"authorization": f"Bearer {IDENTITY.mint(defaults.SIGN_IN_AUDIENCE)}"}
    async with httpx2.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        assert (await client.get("/api/chat", headers=headers)).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/.auth/login/google", 404),
        ("GET", "/.auth/refresh", 404),
        ("GET", "/.auth", 404),
        ("GET", "/.AUTH/x", 404),
        ("POST", "/.auth/logout", 405),
        ("GET", "/.auth/login/aad/callback", 405),
    ],
)
async def test_what_is_not_emulated_is_refused_and_never_asked_of_the_app(
    browser: httpx2.AsyncClient, method: str, path: str, status: int
) -> None:
    await sign_in(browser)
    assert (await browser.request(method, path)).status_code == status


async def test_a_form_that_is_no_form_signs_nobody_in(browser: httpx2.AsyncClient) -> None:
    for body in (b"\xff\xfe", b"user=" + b"x" * 100_000, b""):
        answer = await browser.post("/.auth/login/aad/callback", content=body)
        assert answer.status_code == 400


async def test_bodies_pass_piece_by_piece_and_a_hang_up_is_passed_on() -> None:
    """Nothing is collected on the way: neither an upload of 128 MB nor a stream of events."""
    events: list[str] = []

    async def app(_: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            events.append(f"app got {message['body'].decode()}")
            await send({"type": "http.response.body", "body": message["body"], "more_body": True})
        events.append("app hears the hang-up")

    pieces = iter([b"one", b"two"])

    async def receive() -> Message:
        if piece := next(pieces, None):
            events.append(f"caller sends {piece.decode()}")
            return {"type": "http.request", "body": piece, "more_body": True}
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        events.append(f"caller gets {message['body'].decode()}")

    token = IDENTITY.mint(defaults.SIGN_IN_AUDIENCE)
    scope: dict[str, Any] = {
        "type": "http",
        "scheme": "http",
        "method": "POST",
        "path": "/api/chat",
        "raw_path": b"/api/chat",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"authorization", f"Bearer {token}".encode())],
    }
    await AppServiceAuth(app, public_key=IDENTITY.public_key, clock=Clock())(scope, receive, send)
    assert events == [
        *("caller sends one", "app got one", "caller gets one"),
        *("caller sends two", "app got two", "caller gets two"),
        "app hears the hang-up",
    ]
