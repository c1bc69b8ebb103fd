"""What a caller gets from the functions host."""

import hashlib
import re
import socket
from pathlib import Path

import httpx2
import pytest

from tests.local.functions_host.conftest import KEY
from tests.support.functions_host import HostProcess
from tests.support.processes import wait_until


def test_a_function_gets_method_and_query(client: httpx2.Client) -> None:
    answer = client.post("/api/hello?name=Ada&name=Bob&empty=")
    assert answer.json() == {"method": "POST", "query": {"name": "Bob", "empty": ""}}


def test_routes_ignore_case_and_a_trailing_slash(client: httpx2.Client) -> None:
    assert client.get("/API/Hello/").status_code == 200


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/api/items/special", "special"),
        ("/api/items/7", {"number": "7"}),
        ("/api/items/seven", {"name": "seven"}),
        ("/api/items/a%2Fb%20c%C3%A9", {"name": "a%2Fb cé"}),
    ],
)
def test_the_most_specific_route_answers(client: httpx2.Client, path: str, answer: object) -> None:
    assert client.get(path).json() == answer


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/nothing"), ("DELETE", "/api/hello"), ("GET", "/hello"), ("POST", "/")],
)
def test_an_unknown_path_or_method_is_not_found(
    client: httpx2.Client, method: str, path: str
) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.content) == (404, b"")


def test_a_function_without_its_key_is_refused(stranger: httpx2.Client) -> None:
    assert stranger.get("/api/hello").status_code == 401
    assert stranger.get("/api/hello?code=wrong").status_code == 401
    assert stranger.get("/api/master").status_code == 401


def test_the_key_travels_in_header_or_query(stranger: httpx2.Client) -> None:
    assert stranger.get("/api/hello", headers={"x-functions-key": KEY}).status_code == 200
    assert stranger.get(f"/api/hello?code={KEY}").status_code == 200
    assert stranger.get(f"/api/master?code={KEY}").status_code == 200


def test_an_anonymous_function_asks_for_no_key(stranger: httpx2.Client) -> None:
    assert stranger.get("/api/open").json() == "open"


def test_settings_come_from_the_file_unless_the_environment_has_them(client: httpx2.Client) -> None:
    values = {
        name: client.get(f"/api/settings/{name}").json()
        for name in ("FROM_FILE", "FROM_BOTH", "NUMBER", "FUNCTIONS_WORKER_RUNTIME")
    }
    assert values == {
        "FROM_FILE": "file",
        "FROM_BOTH": "environment",
        "NUMBER": "210",
        "FUNCTIONS_WORKER_RUNTIME": "python",
    }


def test_an_invocation_id_sent_by_the_caller_is_replaced(client: httpx2.Client) -> None:
    answers = [
        client.get("/api/headers", headers={"x-ms-invocation-id": "mine"}).json() for _ in "ab"
    ]
    ids = {answer["invocation_id"] for answer in answers}
    assert len(ids) == 2
    assert "mine" not in ids
    assert {answer["headers"]["x-ms-invocation-id"] for answer in answers} == ids


TRACE = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"


@pytest.mark.parametrize(
    ("traceparent", "is_one"),
    [
        (f"00-{TRACE}-01", True),
        (f"01-{TRACE}-01-later", True),
        (f"00-{TRACE}-01-later", False),
        (f"ff-{TRACE}-01", False),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", False),
        (f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-01", False),
    ],
)
def test_an_invocation_belongs_to_the_callers_trace_or_to_a_new_one(
    client: httpx2.Client, traceparent: str, is_one: bool
) -> None:
    sent = {"traceparent": traceparent, "tracestate": "a=b"}
    parent, state = client.get("/api/headers", headers=sent).json()["trace"]
    assert (parent == traceparent, state == "a=b") == (is_one, is_one)
    assert re.fullmatch("[0-9a-f]{2}(-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})(-later)?", parent)


def test_every_answer_carries_the_custom_headers(client: httpx2.Client) -> None:
    for path in ("/api/hello", "/api/nothing", "/"):
        assert client.get(path).headers["x-content-type-options"] == "nosniff"


def test_an_allowed_origin_may_call_from_a_web_page(stranger: httpx2.Client) -> None:
    preflight = {"origin": "http://front.example", "access-control-request-method": "POST"}
    answer = stranger.options("/api/hello", headers=preflight)
    assert answer.headers["access-control-allow-origin"] == "http://front.example"
    answer = stranger.options("/api/hello", headers={**preflight, "origin": "http://other.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_a_request_that_names_another_host_is_refused(client: httpx2.Client) -> None:
    assert client.get("/api/hello", headers={"host": "evil.example"}).status_code == 421


def test_a_body_reaches_the_function_whole(client: httpx2.Client) -> None:
    body = bytes(range(256)) * 3900
    assert client.post("/api/digest", content=body).json() == hashlib.sha256(body).hexdigest()


def test_a_body_over_the_limit_is_refused(client: httpx2.Client) -> None:
    assert client.post("/api/digest", content=b"x" * 1_000_001).status_code == 413


def test_a_body_of_unknown_length_is_refused_at_the_limit(client: httpx2.Client) -> None:
    chunks = (b"x" * 100_000 for _ in range(11))
    assert client.post("/api/digest", content=chunks).status_code == 413


def test_an_exception_answers_500_without_detail(client: httpx2.Client, host: HostProcess) -> None:
    answer = client.get("/api/raises")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    wait_until(lambda: "Executed 'Functions.raises' (Failed" in host.output)
    assert "raises raised ValueError: the function's own trouble" in host.output


def test_a_stream_that_breaks_cuts_the_connection(client: httpx2.Client) -> None:
    with client.stream("GET", "/api/breaks") as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx2.RemoteProtocolError):
            answer.read()


def test_a_stream_arrives_line_by_line(client: httpx2.Client) -> None:
    with client.stream("GET", "/api/events") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "first"
        # The second line is written only now, so the first was held by nobody.
        assert client.post("/api/release").status_code == 204
        assert next(lines) == "second"


def test_the_home_page_names_the_functions(stranger: httpx2.Client) -> None:
    answer = stranger.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "The functions host is running." in answer.text
    assert "<li>hello: GET, POST /api/hello</li>" in answer.text


def test_the_status_says_running_to_those_with_the_key(
    client: httpx2.Client, stranger: httpx2.Client
) -> None:
    assert client.get("/admin/host/status").json()["state"] == "Running"
    assert stranger.get("/admin/host/status").status_code == 401
    assert stranger.get("/admin/host/ping").status_code == 200


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_localhost_is_reached_by_both_address_families(host: HostProcess, address: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            pytest.skip(f"this machine has no {address}: {error}")
    socket.create_connection((address, int(host.url.rpartition(":")[2]))).close()


def test_a_hang_up_closes_the_stream(client: httpx2.Client, tmp_path: Path) -> None:
    mark = tmp_path / "closed"
    with client.stream("GET", "/api/hangs", params={"hang_up_file": str(mark)}) as answer:
        lines = answer.iter_lines()  # closes the connection when it is forgotten
        assert next(lines) == "first"
        assert not mark.exists()
    wait_until(mark.exists)
