"""Requests that the service refuses, each with its status, code and envelope."""

import contextlib

import httpx
import pytest

from local.session_pool import PoolOptions
from tests.local.session_pool.conftest import OpenPool
from tests.local.session_pool.support import AUDIENCE, PoolClient

pytestmark = pytest.mark.asyncio(loop_scope="session")


def error_of(response: httpx.Response) -> str:
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
        with pytest.raises(httpx.RemoteProtocolError):
            await session.request("GET", "files")
        assert (await session.request("GET", "files")).status_code == 200

    async def test_the_service_is_slow(self, session: PoolClient) -> None:
        session.pool.faults.slow_down(60)
        with contextlib.suppress(httpx.ReadTimeout):
            response = await session.request("GET", "files", timeout=0.2)
            pytest.fail(f"answered {response.status_code} at once")
        session.pool.faults.clear()
        assert (await session.request("GET", "files", timeout=5)).status_code == 200
