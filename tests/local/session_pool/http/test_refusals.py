"""Requests that the service refuses, each with its status, code and envelope."""

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import pytest

from local.session_pool import PoolOptions
from tests.local.session_pool.conftest import OpenPool
from tests.local.session_pool.http import shapes
from tests.support.pool_client import AUDIENCE, PoolClient

pytestmark = pytest.mark.asyncio(loop_scope="session")


def error_of(response: httpx2.Response) -> str:
    error = response.json()["error"]
    assert response.headers["x-ms-error-code"] == error["code"]
    assert error["message"]
    assert error["traceId"]
    return str(error["code"])


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer nonsense", "Basic dTpw"])
async def test_no_valid_token_is_401_with_an_empty_body(
    session: PoolClient, authorization: str
) -> None:
    response = await session.request("GET", "files", headers={"authorization": authorization})
    assert (response.status_code, response.content) == (401, b"")


async def test_a_token_for_another_audience_or_an_expired_one_is_401(
    session: PoolClient,
) -> None:
    for token in (
        session.identity.mint("https://cognitiveservices.azure.com"),
        session.identity.mint(AUDIENCE, lifetime_s=-3600),
    ):
        headers = {"authorization": f"Bearer {token}"}
        response = await session.request("GET", "files", headers=headers)
        assert (response.status_code, response.content) == (401, b"")


@pytest.mark.parametrize("version", ["2023-01-01", "", None])
async def test_an_unknown_api_version_is_401_with_an_empty_body(
    session: PoolClient, version: str | None
) -> None:
    response = await session.request("GET", "files", params={"api-version": version})
    assert (response.status_code, response.content) == (401, b"")


async def test_without_the_role_it_is_403(session: PoolClient) -> None:
    session.pool.faults.revoke_role()
    response = await session.request("GET", "files")
    session.pool.faults.grant_role()
    assert response.status_code == 403
    assert "Session Executor" in response.json()["error"]["message"]
    assert (await session.request("GET", "files")).status_code == 200


async def test_a_wrapped_body_is_refused_by_the_new_generation(session: PoolClient) -> None:
    response = await session.request("POST", "executions", json={"properties": {"code": "1"}})
    assert response.status_code == 400
    assert error_of(response) == "SessionPropertiesMissing"


async def test_a_flat_body_is_refused_by_the_old_generation(session: PoolClient) -> None:
    old = session.of(version="2024-02-02-preview")
    response = await old.request("POST", "code/execute", json={"code": "1"})
    assert response.status_code == 400
    assert error_of(response) == "SessionPropertiesMissing"


@pytest.mark.parametrize(
    ("version", "method", "path"),
    [
        ("2024-02-02-preview", "POST", "executions"),
        ("2024-02-02-preview", "DELETE", "session"),
        ("2024-10-02-preview", "GET", "session"),
        ("2025-10-02-preview", "POST", "code/execute"),
        ("2025-10-02-preview", "POST", "files/upload/more"),
        ("2025-10-02-preview", "PUT", "files"),
        ("2025-10-02-preview", "GET", "nothing"),
    ],
)
async def test_what_a_version_does_not_have_is_not_supported(
    session: PoolClient, version: str, method: str, path: str
) -> None:
    response = await session.of(version=version).request(method, path)
    assert response.status_code == 400
    assert error_of(response) == "SessionRequestNotSupported"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"code": 1}',
        b'{"code": "1", "timeoutInSeconds": 0}',
        b'{"code": "1", "timeoutInSeconds": "soon"}',
        b'{"code": "1", "codeInputType": "Telepathy"}',
        b'{"code": "1", "executionType": "Later"}',
        b'{"code": "*", "codeInputType": "InlineBase64"}',
        b'{"code": "1", "outputStreamsMaxLength": -1}',
    ],
)
async def test_a_malformed_execution_names_what_is_wrong(session: PoolClient, body: bytes) -> None:
    response = await session.request("POST", "executions", content=body)
    assert response.status_code == 400
    assert error_of(response) == "SessionRequestValidationFailed"


async def test_code_longer_than_the_limit_is_413(session: PoolClient) -> None:
    response = await session.request("POST", "executions", json={"code": "#" * (5 << 20)})
    assert response.status_code == 413


@pytest.mark.parametrize("identifier", [None, "", "a" * 257, "ä" * 8, "with space"])
async def test_a_bad_identifier_is_refused(session: PoolClient, identifier: str | None) -> None:
    response = await session.request("GET", "files", params={"identifier": identifier})
    assert response.status_code == 400
    assert error_of(response) == "SessionRequestValidationFailed"
    assert response.json()["error"]["target"] == "identifier"


async def test_strict_takes_only_identifiers_that_every_source_allows(
    open_pool: OpenPool,
) -> None:
    async with open_pool(PoolOptions(strict=True, preload=())) as client:
        for identifier, status in (("abc", 400), ("a_b_c", 400), ("a" * 129, 400), ("a-b4", 200)):
            response = await client.request("GET", "files", params={"identifier": identifier})
            assert response.status_code == status, identifier


async def test_another_path_is_no_pool(session: PoolClient) -> None:
    response = await session.http.get("/subscriptions/x/resourceGroups/y/sessionPools/z/files")
    assert response.status_code == 404


class TestFaults:
    """Failures on demand."""

    async def test_403_lasts_as_long_as_asked_by_the_pools_clock(self, session: PoolClient) -> None:
        session.pool.faults.forbid_for(60)
        assert (await session.request("GET", "files")).status_code == 403
        session.pool.clock.advance(61)
        assert (await session.request("GET", "files")).status_code == 200

    async def test_429_comes_so_many_times_with_retry_after_if_asked(
        self, session: PoolClient
    ) -> None:
        session.pool.faults.throttle(2, retry_after_s=3)
        responses = [await session.request("GET", "files") for _ in range(3)]
        assert [response.status_code for response in responses] == [429, 429, 200]
        assert responses[0].headers["retry-after"] == "3"

    async def test_5xx_comes_so_many_times(self, session: PoolClient) -> None:
        session.pool.faults.fail(1, status=500)
        session.pool.faults.fail(1)
        statuses = [(await session.request("GET", "files")).status_code for _ in range(3)]
        assert statuses == [500, 503, 200]

    async def test_a_connection_is_dropped(self, session: PoolClient) -> None:
        session.pool.faults.drop_connection()
        with pytest.raises(httpx2.RemoteProtocolError):
            await session.request("GET", "files")
        assert (await session.request("GET", "files")).status_code == 200

    async def test_the_service_is_slow(self, session: PoolClient) -> None:
        session.pool.faults.slow_down(60)
        with contextlib.suppress(httpx2.ReadTimeout):
            response = await session.request("GET", "files", timeout=0.2)
            pytest.fail(f"answered {response.status_code} at once")
        session.pool.faults.clear()
        assert (await session.request("GET", "files", timeout=5)).status_code == 200

    async def test_a_new_session_is_slow_and_one_that_is_there_is_not(
        self, session: PoolClient
    ) -> None:
        assert (await session.request("GET", "files")).status_code == 200
        session.pool.faults.slow_allocation(60)
        assert (await session.request("GET", "files", timeout=5)).status_code == 200
        await session.request("DELETE", "session")
        with contextlib.suppress(httpx2.ReadTimeout):
            response = await session.request("GET", "files", timeout=0.2)
            pytest.fail(f"answered {response.status_code} at once")
        session.pool.faults.clear()
        assert (await session.request("GET", "files", timeout=5)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "arguments"),
    [
        ("GET", "listSessions", {"params": {"skip": "9" * 5000}}),
        ("POST", "executions", {"json": {"code": "é", "codeInputType": "InlineBase64"}}),
        ("POST", "executions", {"json": {"code": "/w==", "codeInputType": "InlineBase64"}}),
        ("POST", "executions", {"content": b"\xff\xfe"}),
        ("POST", "executions", {"content": b'{"code": "\\ud83d"}'}),
        ("POST", "executions", {"content": b"[" * 100_000}),
        ("POST", "files", {"content": b"nothing", "boundary": "x"}),
        ("POST", "files", {"content": b"--x\r\n\r\n--", "boundary": "x"}),
        ("POST", "files", {"content": b"--x\r\nContent-Disposition: form", "boundary": "x"}),
        ("POST", "files", {"content": b"--x\r\nno colon\r\n\r\n--x--", "boundary": "x"}),
        ("POST", "files", {"content": b"", "boundary": ""}),
    ],
)
async def test_what_cannot_be_read_gets_the_services_envelope(
    session: PoolClient, method: str, path: str, arguments: dict[str, Any]
) -> None:
    if "boundary" in arguments:
        media_type = f"multipart/form-data; boundary={arguments.pop('boundary')}"
        arguments |= {"headers": {"content-type": media_type}}
    response = await session.request(method, path, **arguments)
    assert response.status_code == 400
    jsonschema.validate(response.json(), shapes.ERROR)


async def test_an_identifier_that_is_no_file_name_keeps_its_files(
    open_pool: OpenPool, tmp_path: Path
) -> None:
    async with open_pool(PoolOptions(keep_files=tmp_path, preload=())) as client:
        session = client.of(identifier="#" * 120)
        await session.upload("a.txt", b"kept")
        assert (await session.request("DELETE", "session")).status_code == 204
    contents = await asyncio.to_thread(lambda: [f.read_bytes() for f in tmp_path.glob("*/a.txt")])
    assert contents == [b"kept"]


async def test_an_operation_id_with_a_slash_can_be_polled(session: PoolClient) -> None:
    started = await session.request(
        "POST",
        "executions",
        json={"code": "1", "executionType": "Asynchronous"},
        headers={"operation-id": "a/b?c"},
    )
    location = started.headers["operation-location"]
    headers = {"authorization": f"Bearer {session.identity.mint(AUDIENCE)}"}
    polled = await session.http.get(location, headers=headers)
    assert polled.status_code == 200
    assert polled.json()["id"] == "a/b?c"


async def test_a_folder_of_any_depth_can_be_deleted(session: PoolClient) -> None:
    await session.result(
        "import os\nos.makedirs('/mnt/data/deep'); os.chdir('/mnt/data/deep')\n"
        "for n in range(1500): os.mkdir('d'); open('f', 'w').close(); os.chdir('d')\n"
        "os.chdir('/')"
    )
    assert (await session.request("DELETE", "files/deep")).status_code == 204
    assert (await session.result("os.listdir('/mnt/data')"))["executionResult"] == []


async def test_a_session_that_loops_is_deleted_within_a_second_and_its_identifier_is_free(
    session: PoolClient,
) -> None:
    async def delete_s() -> float:
        started_s = time.monotonic()
        assert (await session.request("DELETE", "session")).status_code == 204
        assert (await session.result("6 * 7"))["executionResult"] == 42
        return time.monotonic() - started_s

    await session.result("kept = 5")
    idle_s = await delete_s()
    running = await session.begin("while True: pass")
    # On a busy machine one that does nothing takes long too.
    assert await delete_s() < max(1, 4 * idle_s)
    assert (await running).json()["error"]["code"] == "SessionWithIdentifierNotFound"
