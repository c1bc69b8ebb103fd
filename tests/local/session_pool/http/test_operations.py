"""Asynchronous executions: started, polled, finished."""

import asyncio
from typing import Any

import httpx2
import pytest

from tests.support.pool_client import PoolClient

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def start(client: PoolClient, code: str) -> httpx2.Response:
    body = {
        "codeInputType": "Inline",
        "executionType": "Asynchronous",
        "code": code,
        "timeoutInSeconds": 30,
    }
    return await client.request("POST", "executions", json=body)


async def finished(client: PoolClient, operation_id: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            answer = (await client.request("GET", f"executions/{operation_id}")).json()
            if answer["status"] != "Running":
                return dict(answer)
            await asyncio.sleep(0.02)


async def test_it_answers_at_once_and_is_polled_until_done(session: PoolClient) -> None:
    response = await start(session, "import time; time.sleep(0.3); print('done'); 7")
    assert response.status_code == 202
    started = response.json()
    assert started["status"] == "Running"
    assert "result" not in started
    assert response.headers["operation-id"] == started["id"]
    location = response.headers["operation-location"]
    token = (await session.request("GET", "session")).request.headers["authorization"]
    polled = await session.http.get(location, headers={"authorization": token})
    assert polled.json()["status"] == "Running"
    answer = await finished(session, started["id"])
    assert answer["status"] == "Succeeded"
    assert answer["result"]["stdout"] == "done\n"
    assert answer["result"]["executionResult"] == 7


async def test_a_failure_is_polled_like_a_success(session: PoolClient) -> None:
    started = (await start(session, "1 / 0")).json()
    answer = await finished(session, started["id"])
    assert answer["status"] == "Failed"
    assert "ZeroDivisionError" in answer["result"]["stderr"]


async def test_the_callers_operation_id_is_kept(session: PoolClient) -> None:
    body = {"code": "1", "executionType": "asynchronous"}
    response = await session.request(
        "POST", "executions", json=body, headers={"operation-id": "mine"}
    )
    assert response.json()["id"] == "mine"
    assert (await finished(session, "mine"))["executionType"] == "asynchronous"


async def test_an_unknown_operation_is_not_found(session: PoolClient) -> None:
    await session.result("1")
    response = await session.request("GET", "executions/none")
    assert response.status_code == 404
    message = response.json()["error"]["message"]
    assert message == "No execution available for operation Id: none"


async def test_another_session_cannot_read_it(session: PoolClient) -> None:
    started = (await start(session, "'secret'")).json()
    await finished(session, started["id"])
    other = session.of()
    await other.result("1")
    assert (await other.request("GET", f"executions/{started['id']}")).status_code == 404


async def test_results_end_with_their_session(session: PoolClient) -> None:
    client = session.of()
    operation_id = (await start(client, "7")).json()["id"]
    assert (await finished(client, operation_id))["status"] == "Succeeded"
    await client.request("DELETE", "session")
    await client.result("1")
    assert (await client.request("GET", f"executions/{operation_id}")).status_code == 404
    await client.request("DELETE", "session")


async def test_large_results_are_kept_up_to_a_bound(session: PoolClient) -> None:
    # 17 outputs of 10 MB: more than the bound of 128 MiB together.
    code = (
        "from IPython.display import display\ndisplay({'image/png': b'x' * 10_000_000}, raw=True)"
    )
    ids = []
    for _ in range(17):
        ids.append((await start(session, code)).json()["id"])
        last = await finished(session, ids[-1])
    assert last["status"] == "Succeeded"
    assert (await session.request("GET", f"executions/{ids[0]}")).status_code == 404
    assert (await session.request("GET", f"executions/{ids[-1]}")).status_code == 200
