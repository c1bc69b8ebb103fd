"""A session has no more memory than its limit, whatever the kernel keeps it in."""

import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from local.session_pool import PoolOptions, SessionLimits
from tests.local.session_pool.conftest import OpenPool
from tests.local.session_pool.sandbox.memory_kinds import KINDS, REFUSED, program
from tests.support.pool_client import PoolClient

WAYS: dict[str, dict[str, Any]] = {
    "fork server and control group": {},
    "fork server": {"control_groups": False},
    "plain": {"control_groups": False, "fork_server": False},
}
# So much of each that can be had at all has to be possible.
LITTLE = 0.02


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=WAYS)
async def pool(request: pytest.FixtureRequest, open_pool: OpenPool) -> AsyncIterator[PoolClient]:
    limits = SessionLimits(memory_bytes=120 << 20)
    options = PoolOptions(limits=limits, preload=(), ready_sessions=2, **WAYS[request.param])
    async with open_pool(options) as client:
        if "control group" in request.param and "cgroup" not in client.pool.kernels:
            pytest.skip("no control group can be made here")
        yield client


async def attempt(pool: PoolClient, kind: str, share: float) -> dict[str, Any]:
    client = pool.of()
    answer = await client.execute(program(kind, share), timeoutInSeconds=60)
    await client.request("DELETE", "session")
    return answer


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("kind", KINDS)
async def test_no_kind_passes_the_limit(pool: PoolClient, kind: str) -> None:
    answer = await attempt(pool, kind, 1)
    stderr = answer["result"]["stderr"]
    assert answer["status"] == "Failed"
    assert "timed out" not in stderr
    if kind in REFUSED:
        assert "Error" in stderr
    else:
        little = await attempt(pool, kind, LITTLE)
        if little["status"] != "Succeeded":
            # Sockets of the whole machine may count: those of a test beside this one, for a moment.
            little = await attempt(pool, kind, LITTLE)
        assert little["status"] == "Succeeded", little["result"]["stderr"][-500:]


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_works_outside(kind: str) -> None:
    subprocess.run([sys.executable, "-c", program(kind, LITTLE)], check=True, timeout=60)


@pytest.mark.asyncio(loop_scope="session")
async def test_shared_maps_of_python_work_and_are_counted_as_files(session: PoolClient) -> None:
    result = await session.result(
        "import mmap, os\nshared = mmap.mmap(-1, 1 << 20)\n"
        "if os.fork() == 0:\n    shared[:3] = b'abc'; os._exit(0)\n"
        "os.wait()\n"
        "try:\n    mmap.mmap(-1, 300 << 20)\nexcept OSError as error:\n    large = error\n"
        "[shared[:3].decode(), type(large).__name__, type(shared) is mmap.mmap]"
    )
    assert result["executionResult"] == ["abc", "OSError", True]
