"""Requests made to hurt, and those cut on their way: each has its answer, nobody else waits."""

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx2
import pytest
import pytest_asyncio

from tests.support.functions_host import HostProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG = "x" * 10_000


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def conversation_id(host: HostProcess) -> str:
    """A conversation to send files to."""
    async with httpx2.AsyncClient(base_url=f"{host.url}/api", timeout=60) as client:
        return str((await client.post("/conversations")).json()["id"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health/live", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/capabilities", 200),
        ("GET", "/v1/models", 200),
        ("POST", "/chat", 415),
        ("POST", "/v1/chat/completions", 415),
        ("PUT", "/chat", 405),
        ("GET", f"/conversations/{'0' * 32}", 404),
    ],
)
async def test_no_cache_keeps_an_answer_and_no_browser_guesses_its_type(
    api: httpx2.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await api.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] in ("application/json", "application/problem+json")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/chat", {"input": "Hi", LONG: 1}),
        ("/chat", {"input": "Hi", "conversation_id": LONG}),
        ("/v1/chat/completions", {"model": "m", "messages": [{"role": LONG, "content": ""}]}),
        ("/v1/chat/completions", {"model": LONG, "messages": [{"role": "user", "content": "Hi"}]}),
        ("/v1/chat/completions", {"model": "m", "messages": [], "metadata": {LONG: 1}}),
        ("/agui", {LONG: 1}),
        ("/agui", {"threadId": "t", "runId": "r", "messages": [{"role": LONG}]}),
        ("/chat?" + LONG + "=1", None),
    ],
)
async def test_an_error_repeats_a_name_of_the_caller_shortened(
    api: httpx2.AsyncClient, path: str, body: Mapping[str, object] | None
) -> None:
    answer = await (api.post(path, json=body) if body else api.get(path))
    assert 400 <= answer.status_code < 500
    assert len(answer.content) < 1_000


@pytest.mark.parametrize(
    "path", ["/chat", "/v1/chat/completions", "/agui", "/conversations/{}/files"]
)
async def test_a_caller_who_leaves_while_it_sends_is_no_error(
    api: httpx2.AsyncClient, host: HostProcess, conversation_id: str, path: str
) -> None:
    content_type = "multipart/form-data; boundary=B" if "files" in path else "application/json"
    target = f"/api{path.format(conversation_id)}"
    address = urlsplit(host.url)
    lines = len(host.lines)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
    writer.write(f"{head}Content-Length: 1000\r\n\r\n--B\r\nContent-Disp".encode())
    await writer.drain()
    writer.close()
    async with asyncio.timeout(5):
        while not any("the caller disconnected" in line for line in host.lines[lines:]):
            await api.get("/health/live")
    log = "".join(host.lines[lines:])
    assert "Traceback" not in log
    assert "request failed" not in log


def form(*parts: str, boundary: str = "B") -> bytes:
    return "".join(f"--{boundary}\r\n{part}\r\n" for part in parts).encode() + (
        f"--{boundary}--\r\n".encode()
    )


PART = 'Content-Disposition: form-data; name="file"; filename="a.csv"\r\n{}\r\n1,2'


@pytest.mark.parametrize(
    ("boundary", "body", "status"),
    [
        pytest.param("b" * 256, form(PART.format(""), boundary="b" * 256), 201, id="long boundary"),
        pytest.param("b" * 257, form(PART.format(""), boundary="b" * 257), 400, id="too long"),
        pytest.param("b" * 50_000, b"", 400, id="far too long"),
        pytest.param("B", form(PART.format("X-A: 1\r\n" * 7)), 201, id="eight headers"),
        pytest.param("B", form(PART.format("X-A: 1\r\n" * 8)), 400, id="nine headers"),
        pytest.param("B", form(PART.format(f"X-A: {'1' * 3000}\r\n")), 201, id="long header"),
        pytest.param("B", form(PART.format(f"X-A: {'1' * 9000}\r\n")), 400, id="longer header"),
        pytest.param("B", form(PART.format(f"{'X' * 9000}: 1\r\n")), 400, id="long header name"),
        pytest.param("B", form(*["\r\n"] * 10_000), 400, id="parts of nothing"),
        pytest.param("B", b"--B\r\n" * 10_000, 400, id="boundaries alone"),
    ],
)
async def test_a_form_of_any_size_has_an_answer(
    api: httpx2.AsyncClient, conversation_id: str, boundary: str, body: bytes, status: int
) -> None:
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    path = f"/conversations/{conversation_id}/files"
    answer = await api.post(path, content=body, headers=headers)
    assert answer.status_code == status, answer.text
    if status != 201:
        assert answer.json()["code"] == "InvalidRequest"
