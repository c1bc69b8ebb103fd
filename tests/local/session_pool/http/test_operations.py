"""Asynchronous executions: started, polled, finished."""

import asyncio
import contextlib
import gc
import os
from typing import Any

import httpx2
import jsonschema
import pytest

from local.session_pool import Clock
from local.session_pool.errors import ExecutionNotFoundError, TooManyExecutionsError
from local.session_pool.http.operations import Operations
from local.session_pool.pool.execution import ExecutionRequest, Outcome
from local.session_pool.pool.session import Session
from local.session_pool.sandbox.replies import Blob, Reply, ReplyFrame
from tests.local.session_pool.http import shapes
from tests.support.pool_client import UNTIL_GO, PoolClient

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
    async with asyncio.timeout(60):
        while True:
            answer = (await client.request("GET", f"executions/{operation_id}")).json()
            if answer["status"] != "Running":
                return dict(answer)
            await asyncio.sleep(0.02)


async def test_it_answers_at_once_and_is_polled_until_done(session: PoolClient) -> None:
    response = await start(session, f"{UNTIL_GO}print('done'); 7")
    assert response.status_code == 202
    started = response.json()
    assert started["status"] == "Running"
    assert "result" not in started
    assert response.headers["operation-id"] == started["id"]
    location = response.headers["operation-location"]
    token = (await session.request("GET", "session")).request.headers["authorization"]
    polled = await session.http.get(location, headers={"authorization": token})
    assert polled.json()["status"] == "Running"
    await session.upload("go", b"")
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


async def test_large_results_are_kept_up_to_a_bound() -> None:
    operations, session = Operations(Clock()), QuickSession(output_bytes=32 << 20)
    request = ExecutionRequest("1", asynchronous=True)
    started = []
    for _ in range(6):
        started.append(operations.start(session, request, None).operation_id)
        await asyncio.sleep(0.001)
    found = []
    for operation_id in started:
        with contextlib.suppress(ExecutionNotFoundError):
            found.append(operations.get(session, operation_id).operation_id)
    assert found == started[-4:]
    gc.collect()
    assert stored_bytes() == 128 << 20


def stored_bytes() -> int:
    """Return the bytes in files without a name that this process holds open."""
    found = 0
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{descriptor}").endswith("(deleted)"):
                found += os.stat(f"/proc/self/fd/{descriptor}").st_size
    return found


async def test_results_are_kept_up_to_a_number_and_for_an_hour() -> None:
    clock = Clock()
    operations, session = Operations(clock), QuickSession()
    request = ExecutionRequest("1", asynchronous=True)
    started = []
    for _ in range(13):
        started += [operations.start(session, request, None) for _ in range(77)]
        await asyncio.gather(*(operation.task for operation in started[-77:]))
    with pytest.raises(ExecutionNotFoundError):
        operations.get(session, started[0].operation_id)
    assert operations.get(session, started[1].operation_id) is started[1]
    clock.advance(3601)
    with pytest.raises(ExecutionNotFoundError):
        operations.get(session, started[-1].operation_id)


@pytest.mark.parametrize(
    ("sessions", "of_each", "chars", "says"),
    [
        (1, 100, 1, "The session has 100 asynchronous executions"),
        (10, 100, 1, "The pool has 1000 asynchronous executions"),
        (1, 8, 4 << 20, "The pool has 33554432 characters of code in asynchronous executions"),
    ],
)
async def test_no_more_than_so_many_executions_wait(
    sessions: int, of_each: int, chars: int, says: str
) -> None:
    operations, request = Operations(Clock()), ExecutionRequest("#" * chars, asynchronous=True)
    waiting = [BusySession(f"{n}") for n in range(sessions)]
    for session in waiting:
        for _ in range(of_each):
            operations.start(session, request, None)
    refused_at = BusySession("another") if sessions > 1 else waiting[0]
    with pytest.raises(TooManyExecutionsError) as refused:
        operations.start(refused_at, request, None)
    assert refused.value.message.startswith(says)
    # Those of a session that ends make room.
    waiting[0].ended.set()
    await asyncio.sleep(0.01)
    started = operations.start(BusySession("later"), request, None)
    assert len(started.request.code) == 0
    await operations.close()


async def test_one_too_many_is_refused_in_the_services_words_and_the_others_go_on(
    session: PoolClient,
) -> None:
    await start(session, UNTIL_GO)
    answers = [await start(session, f"{n}") for n in range(100)]
    assert [answer.status_code for answer in answers] == [202] * 99 + [429]
    jsonschema.validate(answers[-1].json(), shapes.ERROR)
    assert answers[-1].headers["x-ms-error-code"] == "TooManyRequests"
    await session.upload("go", b"")
    last = await finished(session, answers[-2].json()["id"])
    assert last["result"]["executionResult"] == 98
    assert (await start(session, "1")).status_code == 202


class BusySession(Session):
    """A session whose executions last until it ends."""

    def __init__(self, guid: str) -> None:
        self.guid = guid
        self._on_end = []
        self.ended = asyncio.Event()

    async def execute(self, request: ExecutionRequest) -> Outcome:
        await self.ended.wait()
        return Outcome(True, "", "", 0)


class QuickSession(Session):
    """A session whose executions take no time and come to one output, or to none."""

    def __init__(self, output_bytes: int = 0) -> None:
        self.guid = "quick"
        self._on_end = []
        self._output_bytes = output_bytes

    async def execute(self, request: ExecutionRequest) -> Outcome:
        blobs = (Blob("image/png", self._output_bytes),) if self._output_bytes else ()
        for blob in blobs:
            blob.write(bytes(self._output_bytes))
        return Outcome(True, "", "", 0, Reply(ReplyFrame(id=1, status="ok"), blobs))


async def test_two_sessions_may_call_their_operations_the_same(session: PoolClient) -> None:
    clients = [session, session.of()]
    for number, client in enumerate(clients):
        body = {"code": f"{number}", "executionType": "Asynchronous"}
        await client.request("POST", "executions", json=body, headers={"operation-id": "same"})
    answers = [await finished(client, "same") for client in clients]
    assert [answer["result"]["executionResult"] for answer in answers] == [0, 1]


async def test_an_operation_whose_session_ends_leaves_no_traceback_in_the_log(
    session: PoolClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = session.of()
    await start(client, "import time; time.sleep(60)")
    await client.request("DELETE", "session")
    await session.result("1")
    gc.collect()
    assert "never retrieved" not in caplog.text
