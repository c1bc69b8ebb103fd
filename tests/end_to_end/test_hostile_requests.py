"""Requests made to hurt, and those cut on their way: each has its answer, nobody else waits."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
import pytest_asyncio

from local.defaults import DEPLOYMENT
from tests.support.functions_host import HostProcess
from tests.support.processes import cpu_s

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
    async with asyncio.timeout(30):
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


QUESTION = {"role": "user", "content": "Hi"}
# Nothing is asked, so that all is read and no model is called.
NO_QUESTION = {"role": "user", "content": " "}
MB = 1_000_000


def completion(*messages: object, **more: object) -> bytes:
    # Another model would be refused before the rest is looked at.
    return json.dumps({"model": DEPLOYMENT, "messages": messages, **more}).encode()


def run_input(*messages: object, **more: object) -> bytes:
    run = {"threadId": "t", "runId": "r", "tools": [], "context": [], "forwardedProps": {}}
    return json.dumps({**run, "state": {}, "messages": messages, **more}).encode()


def answered(text: str) -> bytes:
    return completion({"role": "assistant", "content": text}, NO_QUESTION)


def asked_in(parts: list[object]) -> bytes:
    return completion({"role": "user", "content": parts}, NO_QUESTION)


COMPLETIONS, AGUI = "/v1/chat/completions", "/agui"
HOSTILE: dict[str, tuple[str, Callable[[], bytes]]] = {
    "brackets in an answer": (COMPLETIONS, lambda: answered("[" * 8 * MB)),
    "links in an answer": (COMPLETIONS, lambda: answered("[a](data:,)" * (4 * MB // 11))),
    "half links in an answer": (COMPLETIONS, lambda: answered("](data:" * (8 * MB // 7))),
    "60,000 messages": (COMPLETIONS, lambda: completion(*[QUESTION] * 60_000)),
    "the most messages": (COMPLETIONS, lambda: completion(*[QUESTION] * 2047, NO_QUESTION)),
    "300,000 parts": (COMPLETIONS, lambda: asked_in([{"type": "text", "text": "a"}] * 300_000)),
    "many parts": (COMPLETIONS, lambda: asked_in([{"type": "text", "text": "a"}] * 7_000)),
    "wrong parts": (COMPLETIONS, lambda: asked_in([{}] * 24_000)),
    "wrong messages": (COMPLETIONS, lambda: completion(*[[]] * 24_000)),
    "millions of wrong messages": (COMPLETIONS, lambda: completion()[:-2] + b"[]," * 5 * MB),
    "unknown fields": (COMPLETIONS, lambda: completion(**{f"f{i}": 1 for i in range(16_000)})),
    "metadata": (COMPLETIONS, lambda: completion(metadata={f"f{i}": 1 for i in range(16_000)})),
    "lists in lists": (COMPLETIONS, lambda: b"[" * 15 * MB),
    "spaces": (COMPLETIONS, lambda: b" " * 15 * MB),
    "one long number": (COMPLETIONS, lambda: b"1" * 15 * MB),
    "one long text": (COMPLETIONS, lambda: answered("x" * 15 * MB)),
    "one text without an end": (COMPLETIONS, lambda: b'{"a":"' + b"\\" * 15 * MB),
    "messages of a run": (AGUI, lambda: run_input(*[{"id": "1", **QUESTION}] * 60_000)),
    "wrong messages of a run": (AGUI, lambda: run_input(*[[]] * 24_000)),
    "wrong parts of a run": (
        AGUI,
        lambda: run_input({"id": "1", "role": "user", "content": [{}] * 24_000}),
    ),
    "the state of a run": (AGUI, lambda: run_input(state=[[]] * 300_000)),
    "unknown fields of a question": ("/chat", lambda: b'{"":1,' + b'"a":1,' * 190_000 + b'"b":1}'),
}


@pytest.fixture(scope="module")
def prober(host: HostProcess) -> Iterator[httpx2.Client]:
    """Who asks whether the app is alive, from a thread of its own."""
    with httpx2.Client(base_url=f"{host.url}/api") as client:
        yield client


@pytest.mark.parametrize("kind", HOSTILE)
async def test_others_are_answered_while_a_hostile_body_is_read(
    api: httpx2.AsyncClient, host: HostProcess, prober: httpx2.Client, kind: str
) -> None:
    path, make_body = HOSTILE[kind]
    body = await asyncio.to_thread(make_body)
    headers = {"content-type": "application/json"}

    def slowest_probe(posting: asyncio.Task[Any]) -> float:
        slowest_s = 0.0
        while not posting.done():
            began, used_s = time.perf_counter(), cpu_s(host.process.pid)
            assert prober.get("/health/live").status_code == 200
            # While the app has no processor it holds nobody up.
            took_s = min(time.perf_counter() - began, cpu_s(host.process.pid) - used_s)
            slowest_s = max(slowest_s, took_s)
        return slowest_s

    slowest_s = []
    # Other tests may have the machine for a moment, which probes with nothing beside them show
    # too: what the app does itself it does each time.
    for _ in range(6):
        alone = asyncio.create_task(asyncio.sleep(0.05))
        alone_s = await asyncio.to_thread(slowest_probe, alone)
        posting = asyncio.create_task(api.post(path, content=body, headers=headers))
        slowest_s.append(await asyncio.to_thread(slowest_probe, posting))
        answer = await posting
        assert answer.status_code in (400, 413), answer.text
        assert answer.json().get("code") or answer.json()["error"]["code"]
        if slowest_s[-1] < max(0.2, 4 * alone_s):
            return
    pytest.fail(f"health/live took {slowest_s}")
