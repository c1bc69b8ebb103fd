"""A session has no more memory than its limit, whatever the kernel keeps it in."""

import contextlib
import os
import resource
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from local.session_pool import PoolOptions, SessionLimits
from local.session_pool.sandbox import usage
from tests.local.session_pool.conftest import OpenPool
from tests.local.session_pool.sandbox.memory_kinds import KINDS, REFUSED, program
from tests.support.pool_client import PoolClient

WAYS: dict[str, dict[str, Any]] = {
    "fork server and control group": {},
    "fork server": {"control_groups": False},
    "plain": {"control_groups": False, "fork_server": False},
}
SIZE_BYTES = 120 << 20
# So much of each that can be had at all has to be possible.
LITTLE = 0.02


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=WAYS)
async def pool(request: pytest.FixtureRequest, open_pool: OpenPool) -> AsyncIterator[PoolClient]:
    limits = SessionLimits(memory_bytes=SIZE_BYTES)
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
        assert little["status"] == "Succeeded", little["result"]["stderr"][-500:]


@pytest.mark.asyncio(loop_scope="session")
async def test_what_waits_in_sockets_of_others_is_none_of_the_sessions(pool: PoolClient) -> None:
    code = (
        "import socket, time\n"
        "server, kept = socket.create_server(('127.0.0.1', 0)), []\n"
        "for _ in range(20):\n"
        "    one = socket.create_connection(server.getsockname()); other, _ = server.accept()\n"
        "    kept += [one, other]; one.send(b'x')\n"
        "time.sleep(0.5)"
    )
    # As much as a session may have in all, which is less than its sockets could hold.
    with tcp_memory_in_use(SIZE_BYTES):
        client = pool.of()
        answer = await client.execute(code)
        assert tcp_bytes_of_machine() > SIZE_BYTES
        await client.request("DELETE", "session")
    assert answer["status"] == "Succeeded", answer["result"]["stderr"]


@pytest.mark.asyncio(loop_scope="session")
async def test_sockets_that_linux_lists_no_more_count_too(pool: PoolClient) -> None:
    # Closed on both sides, with what nobody has read.
    code = (
        "import fcntl, os, socket, struct\n"
        "server, kept = socket.create_server(('127.0.0.1', 0)), []\n"
        "for _ in range(4):\n"
        "    one = socket.create_connection(server.getsockname()); other, _ = server.accept()\n"
        "    one.setblocking(False); other.setblocking(False); kept.append(one); moved = 0\n"
        "    while moved < 20 << 20:  # its buffer grows\n"
        "        try:\n            other.send(bytes(1 << 18)); moved += len(one.recv(1 << 20))\n"
        "        except BlockingIOError:\n            pass\n"
        "    try:\n        while True: other.send(bytes(1 << 16))\n"
        "    except BlockingIOError:\n        pass\n"
        "    other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\n"
        "    other.close()\n"
        "held = [fcntl.ioctl(one, 0x541B, bytes(4)) for one in kept]\n"
        "[os.readlink('/proc/self/ns/net'), sum(int.from_bytes(each, 'little') for each in held)]"
    )
    client = pool.of()
    namespace, held = (await client.result(code))["executionResult"]
    pid = next(
        pid
        for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
        if namespace_of(pid) == namespace
    )
    with tcp_memory_in_use(SIZE_BYTES):
        at_first, beyond = usage.sockets_bytes(pid)
        counted = at_first + usage.tcp_bytes(pid, at_first, beyond)
    await client.request("DELETE", "session")
    assert held > 3 << 20
    assert counted > held


def namespace_of(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return ""


@contextlib.contextmanager
def tcp_memory_in_use(size_bytes: int) -> Iterator[None]:
    with contextlib.ExitStack() as opened:
        server = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        sent = 0
        while sent < size_bytes:
            one = opened.enter_context(socket.create_connection(server.getsockname()))
            one.setblocking(False)
            opened.enter_context(server.accept()[0])
            with contextlib.suppress(BlockingIOError):
                while True:
                    sent += one.send(bytes(1 << 16))
        yield


def tcp_bytes_of_machine() -> int:
    lines = Path("/proc/net/sockstat").read_text().splitlines()
    pages = next(line.split()[-1] for line in lines if line.startswith("TCP:"))
    return int(pages) * resource.getpagesize()


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
