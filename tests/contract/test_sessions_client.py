"""Our client of the session pool against the service: what the agent relies on."""

import asyncio
import base64
from collections.abc import AsyncIterator

import pytest
from pydantic import JsonValue

from agent.errors import (
    DeadlineExceededError,
    PoolAccessError,
    PoolAnswerLostError,
    PoolFailedError,
    PoolFullError,
    PoolNotFoundError,
    PoolUnreachableError,
)
from agent.session_pool.client import SessionExecution
from agent.session_pool.survey import SessionFile
from tests.conftest import SharedAzure
from tests.contract.conftest import Session, in_seconds, local_only
from tests.support.telemetry import recorded
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def run(
    session: Session, code: str, *, timeout_s: int = 30, max_chars: int = 10_000
) -> SessionExecution:
    return await session.pool.execute(
        session.identifier,
        code,
        timeout_s=timeout_s,
        max_chars=max_chars,
        deadline=in_seconds(timeout_s + 30),
    )


def result_of(ran: SessionExecution) -> JsonValue:
    """The value of the last expression, as text."""
    return next((one.formats["text/plain"] for one in ran.outputs if one.is_result), None)


async def test_output_and_result_are_apart(session: Session) -> None:
    ran = await run(session, "print('hello')\n1 + 1")
    assert (ran.status, ran.stdout, ran.stderr) == ("Succeeded", "hello\n", "")
    assert result_of(ran) == "2"
    assert ran.duration_ms >= 0


async def test_state_and_guid_stay_from_one_execution_to_the_next(session: Session) -> None:
    first = await run(session, "x = 41")
    second = await run(session, "x + 1")
    assert result_of(second) == "42"
    assert first.session_guid == second.session_guid is not None


async def test_code_that_raises_is_an_answer_with_a_traceback(session: Session) -> None:
    ran = await run(session, "1/0")
    assert ran.status == "Failed"
    assert "ZeroDivisionError" in ran.stderr


async def test_a_figure_is_the_result(session: Session) -> None:
    ran = await run(session, "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()")
    (figure,) = ran.outputs
    assert base64.b64decode(str(figure.formats["image/png"])).startswith(b"\x89PNG")


async def test_long_output_is_cut_where_the_client_says(session: Session) -> None:
    ran = await run(session, "print('x' * 20_000)", max_chars=10_000)
    assert len(ran.stdout) == 10_000


async def test_code_that_takes_too_long_fails_in_time(session: Session) -> None:
    began = asyncio.get_running_loop().time()
    ran = await run(session, "import time; time.sleep(60)", timeout_s=2)
    assert ran.status == "Failed"
    assert "timed out" in ran.stderr
    assert asyncio.get_running_loop().time() - began < 20


async def test_a_file_goes_in_and_comes_out(session: Session) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b"a,b\n"
        yield b"1,2\n"

    deadline = in_seconds(60)
    await session.pool.upload_file(session.identifier, "data ä.csv", 8, content, deadline=deadline)
    ran = await run(session, "open('/mnt/data/data ä.csv').read()")
    assert result_of(ran) == "a,b\n1,2\n"
    (file,) = await session.pool.list_files(session.identifier, deadline=deadline)
    assert (file.name, file.size_bytes) == ("data ä.csv", 8)
    opened = session.pool.open_file(session.identifier, file.name, deadline=deadline)
    async with opened as chunks:
        assert b"".join([chunk async for chunk in chunks]) == b"a,b\n1,2\n"
    await session.pool.delete_file(session.identifier, file.name, deadline=deadline)
    assert await session.pool.list_files(session.identifier, deadline=deadline) == []


async def test_a_file_that_is_not_there_is_not_found(session: Session) -> None:
    await run(session, "1")
    with pytest.raises(PoolNotFoundError):
        await session.pool.delete_file(session.identifier, "no.txt", deadline=in_seconds(30))


async def test_asking_whether_a_session_is_alive_makes_none(session: Session) -> None:
    assert not await session.pool.is_alive(session.identifier, deadline=in_seconds(30))
    await run(session, "1")
    assert await session.pool.is_alive(session.identifier, deadline=in_seconds(30))


async def test_a_session_can_be_allocated_before_code_runs_in_it(session: Session) -> None:
    for _ in range(2):
        await session.pool.allocate(session.identifier, deadline=in_seconds(30))
        assert await session.pool.is_alive(session.identifier, deadline=in_seconds(30))
    assert result_of(await run(session, "1")) == "1"


async def test_a_deleted_session_begins_anew_and_can_be_deleted_twice(session: Session) -> None:
    before = await run(session, "x = 1")
    for _ in range(2):
        await session.pool.delete_session(session.identifier, deadline=in_seconds(30))
    after = await run(session, "x")
    assert "NameError" in after.stderr
    assert after.session_guid != before.session_guid


@local_only
async def test_a_full_pool_is_tried_again(session: Session, faults: SharedAzure) -> None:
    faults.stack.pool.faults.throttle(2)
    assert result_of(await run(session, "1")) == "1"


@local_only
async def test_a_pool_that_stays_full_says_so(session: Session, faults: SharedAzure) -> None:
    faults.stack.pool.faults.throttle(100, retry_after_s=1)
    with pytest.raises(PoolFullError) as full:
        await run(session, "1")
    assert full.value.retry_after_s == 1


@local_only
async def test_it_is_not_asked_again_before_the_time_it_names(
    session: Session, faults: SharedAzure
) -> None:
    faults.stack.pool.faults.throttle(1, retry_after_s=2)
    began = asyncio.get_running_loop().time()
    await run(session, "1")
    assert asyncio.get_running_loop().time() - began >= 2


@local_only
@pytest.mark.parametrize("fault", ["fail", "drop_connection"])
async def test_an_execution_whose_answer_is_lost_is_not_sent_again(
    session: Session, faults: SharedAzure, fault: str
) -> None:
    getattr(faults.stack.pool.faults, fault)(1)
    with pytest.raises(PoolAnswerLostError, match="may have run"):
        await run(session, "1")
    assert result_of(await run(session, "1")) == "1"


@local_only
@pytest.mark.parametrize("fault", ["fail", "drop_connection"])
async def test_what_may_be_done_twice_is_tried_again(
    session: Session, faults: SharedAzure, fault: str
) -> None:
    await run(session, "1")
    getattr(faults.stack.pool.faults, fault)(2)
    assert await session.pool.list_files(session.identifier, deadline=in_seconds(30)) == []


@local_only
@pytest.mark.parametrize(
    ("times", "error"), [("fail", PoolFailedError), ("drop_connection", PoolUnreachableError)]
)
async def test_a_failure_that_stays_ends_the_retries(
    session: Session, faults: SharedAzure, times: str, error: type[Exception]
) -> None:
    getattr(faults.stack.pool.faults, times)(100)
    with pytest.raises(error):
        await session.pool.list_files(session.identifier, deadline=in_seconds(30))


async def listed(session: Session) -> list[SessionFile]:
    return await session.pool.list_files(session.identifier, deadline=in_seconds(30))


async def test_a_session_that_runs_code_is_not_idle(session: Session) -> None:
    code = "open('/mnt/data/begun', 'w').close()\nwhile True: pass"
    running = asyncio.create_task(run(session, code))
    await until(lambda: listed(session))
    assert not await session.pool.is_idle(session.identifier, timeout_s=0.5)
    await session.pool.delete_session(session.identifier, deadline=in_seconds(30))
    with pytest.raises(PoolAnswerLostError):
        await running
    assert await session.pool.is_idle(session.identifier, timeout_s=10)


@local_only
async def test_a_missing_role_is_named_and_not_tried_again(
    session: Session, faults: SharedAzure
) -> None:
    faults.stack.pool.faults.revoke_role()
    with (
        recorded() as taken,
        pytest.raises(PoolAccessError, match="Azure ContainerApps Session Executor"),
    ):
        await run(session, "1")
    assert len(taken.named("POST executions")) == 1
    faults.stack.pool.faults.grant_role()


@local_only
async def test_the_deadline_ends_the_retries_too(session: Session, faults: SharedAzure) -> None:
    faults.stack.pool.faults.slow_down(20)
    began = asyncio.get_running_loop().time()
    with pytest.raises(DeadlineExceededError):
        await session.pool.execute(
            session.identifier, "1", timeout_s=5, max_chars=1000, deadline=in_seconds(1)
        )
    assert asyncio.get_running_loop().time() - began < 10
    faults.stack.pool.faults.clear()


@local_only
async def test_an_identifier_cannot_add_to_the_query(session: Session, faults: SharedAzure) -> None:
    victim = await run(session, "secret = 1")
    assert victim.status == "Succeeded"
    pretender = Session(session.pool, f"a&identifier={session.identifier}")
    assert "NameError" in (await run(pretender, "secret")).stderr
