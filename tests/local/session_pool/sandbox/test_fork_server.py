"""The fork server: what a session of it takes, and what it says when it cannot make one."""

import asyncio
import os
import select
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from local.session_pool import PoolOptions, SessionLimits, prepare_session_image
from local.session_pool.sandbox import usage
from local.session_pool.sandbox.fork_server import ForkServerKernels
from local.session_pool.sandbox.kernel_process import KernelProcess, KernelStartError
from local.session_pool.sandbox.runtime import GuestRuntime
from local.session_pool.sandbox.start import SandboxStarter

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def source() -> AsyncIterator[ForkServerKernels]:
    image = await asyncio.to_thread(prepare_session_image)
    starter = SandboxStarter(GuestRuntime.of_this_interpreter(image), SessionLimits())
    source = ForkServerKernels(starter, PoolOptions().preload)
    await source.start()
    yield source
    await source.close()
    starter.close()


@pytest_asyncio.fixture(loop_scope="session")
async def kernel(source: ForkServerKernels) -> AsyncIterator[KernelProcess]:
    kernel = await source.spawn()
    yield kernel
    await kernel.kill()
    kernel.close()


async def test_an_idle_session_has_less_than_three_mib_of_its_own(
    source: ForkServerKernels, kernel: KernelProcess
) -> None:
    # One that another has been forked after: what it alone has is written to by it alone.
    after = await source.spawn()
    assert 1 < sum(map(_private_mib, kernel.pids)) < 3
    await after.kill()
    after.close()


async def test_each_process_of_a_session_is_seen_once(kernel: KernelProcess) -> None:
    assert sorted(usage.processes_of(kernel.pids)) == sorted(kernel.pids)


async def test_pid_1_ends_with_the_pipe_of_its_pool(kernel: KernelProcess) -> None:
    pid_1 = os.pidfd_open(kernel.pids[0])
    ended = select.poll()
    ended.register(pid_1, select.POLLIN)
    assert ended.poll(100) == []
    asyncio.get_running_loop().remove_reader(kernel._replies)  # nobody sees that the kernel ends
    os.dup2(pid_1, kernel._requests)  # so the pipe has no other end
    assert await asyncio.to_thread(ended.poll, 20_000) != []
    os.close(pid_1)


async def test_a_session_without_namespaces_does_not_start_and_says_why(
    source: ForkServerKernels,
) -> None:
    assert source._process is not None
    server = max(usage.processes_of((source._process.pid,)))
    before = _set_namespaces_max(server, "0")
    with pytest.raises(KernelStartError, match="clone: No space left on device"):
        await source.spawn()
    _set_namespaces_max(server, before)
    kernel = await source.spawn()
    await kernel.kill()
    kernel.close()


def _set_namespaces_max(pid: int, value: str) -> str:
    """Set how many user namespaces that of a process may have; the value is what it was."""
    program = (
        f"import os; os.setns(os.pidfd_open({pid}), os.CLONE_NEWUSER)\n"
        "path = '/proc/sys/user/max_user_namespaces'\n"
        f"print(open(path).read()); open(path, 'w').write('{value}')"
    )
    command = [sys.executable, "-S", "-c", program]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()


def _private_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kib = [int(line.split()[1]) for line in lines if line.startswith("Private_")]
    return sum(kib) / 1024
