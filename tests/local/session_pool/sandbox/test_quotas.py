"""What Linux counts by user one session cannot use up for another."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from local.session_pool import PoolOptions
from tests.local.session_pool.conftest import OpenPool
from tests.local.session_pool.sandbox.attacks import quotas
from tests.local.session_pool.sandbox.attacks.quotas import HIDDEN, QUOTAS, SHARED
from tests.local.session_pool.sandbox.programs import report_of
from tests.local.session_pool.sandbox.test_limits import processes_in
from tests.support.pool_client import PoolClient

# What these tests use up is for all sessions of a user: not those of other tests.
ANOTHER_UID = 12_346
WAYS: dict[str, dict[str, Any]] = {"fork server": {}, "plain": {"fork_server": False}}


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=WAYS)
async def pool(request: pytest.FixtureRequest, open_pool: OpenPool) -> AsyncIterator[PoolClient]:
    if os.getuid() != 0:
        pytest.skip("only root has a user for each session")
    async with open_pool(
        PoolOptions(preload=(), ready_sessions=2, **WAYS[request.param])
    ) as client:
        yield client


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("quota", QUOTAS)
async def test_one_session_leaves_others_theirs(pool: PoolClient, quota: str) -> None:
    first, second = QUOTAS[quota]
    holding, other = pool.of(), pool.of()
    await holding.result(first)
    assert (await other.result(f"{second}\nwon"))["executionResult"] is False
    # The one that holds them is not spared.
    assert (await holding.result(f"{second}\nwon"))["executionResult"] is True
    for session in (holding, other):
        await session.request("DELETE", "session")


@pytest.mark.asyncio(loop_scope="session")
async def test_each_session_is_another_user_for_the_machine(pool: PoolClient) -> None:
    # So all that Linux counts by user it counts for one session, places in epoll too.
    users = []
    for session in (pool.of(), pool.of()):
        named = await session.result("import os; os.readlink('/proc/self/ns/pid')")
        found = await asyncio.to_thread(processes_in, named["executionResult"])
        users.append({status_uid(pid) for pid in found})
        await session.request("DELETE", "session")
    assert [len(each) for each in users] == [1, 1]
    assert len(users[0] | users[1]) == 2
    assert 0 not in users[0] | users[1]


def status_uid(pid: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("Uid:\t")[2].split()[0])


@pytest.mark.parametrize("way", WAYS)
def test_an_ordinary_users_session_that_takes_what_is_for_all_is_ended(way: str) -> None:
    found = report_of(quotas, way, ordinary=True, uid=ANOTHER_UID)["found"]
    # By name: whether others have none for long, and whether the one who took it was ended.
    assert found == {name: [False, name in SHARED] for name in QUOTAS | HIDDEN}


def test_outside_it_leaves_others_nothing() -> None:
    found = report_of(quotas, "outside", ordinary=True, uid=ANOTHER_UID)["found"]
    assert found == dict.fromkeys(QUOTAS | HIDDEN, True)
