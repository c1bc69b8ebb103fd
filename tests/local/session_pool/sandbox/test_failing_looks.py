"""A session that cannot be looked at: only one that has ended counts as one that takes nothing."""

import asyncio
import builtins
import contextlib
import errno
import io
import os
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local.session_pool import PoolOptions
from local.session_pool.sandbox import usage
from local.session_pool.sandbox.idleness import Idleness
from tests.local.session_pool.conftest import OpenPool
from tests.local.session_pool.sandbox.test_limits import FORGED_REPLY

ITSELF = os.getpid()
_SHM = os.open("/dev/shm", os.O_RDONLY)  # noqa: S108 - looked at from beside, as a session's is; nothing is written to it
# What each says of a process that has ended.
LOOKS: dict[str, tuple[Callable[[], object], object]] = {
    "its processes": (lambda: usage.processes_of((ITSELF,)), [ITSELF]),
    "its memory": (lambda: usage.memory_bytes([ITSELF], above=0), 0),
    "what is kept for it": (lambda: usage.kept_bytes([ITSELF]), 0),
    "its sockets": (lambda: usage.sockets_bytes(ITSELF), (0, 0)),
    "its terminals": (lambda: usage.terminals_count(_SHM), 0),
    "whether it waits": (Idleness(ITSELF).look, "gone"),
}
UNSEEN = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EPERM, errno.EIO)


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ESRCH, *UNSEEN], ids=errno.errorcode.get)
@pytest.mark.parametrize("look", LOOKS)
def test_only_what_has_ended_counts_as_nothing(
    look: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, of_nothing = LOOKS[look]
    assert looks() not in (of_nothing, None) or look in ("its processes", "its terminals")

    def fails(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    found: object = None
    with monkeypatch.context() as patch:
        for module, name in ((os, "listdir"), (os, "open"), (builtins, "open"), (io, "open")):
            patch.setattr(module, name, fails)
        try:
            found = looks()
        except OSError as error:
            found = error.errno
    assert found == (code if code in UNSEEN else of_nothing)


@contextlib.contextmanager
def no_open_files() -> Iterator[None]:
    """Leave this process no descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.asyncio(loop_scope="session")
async def test_one_that_cannot_be_looked_at_ends_and_says_why(open_pool: OpenPool) -> None:
    async with open_pool(PoolOptions(control_groups=False, preload=())) as pool:
        for code in ("while True: pass", f"{FORGED_REPLY}while True: pass"):
            client = pool.of()
            running = await client.begin(code)
            with no_open_files():
                started_s = time.monotonic()
                answer = (await running).json()
                took_s = time.monotonic() - started_s
            assert answer["status"] == "Failed"
            stderr = answer["result"]["stderr"]
            assert stderr.startswith("Kernel restarted: ")
            assert "cannot be seen: Too many open files" in stderr
            # A second after it was seen last: a moment without descriptors costs nobody anything.
            assert 0.5 <= took_s < 10
            kept = await client.result("import os; os.listdir('/mnt/data')")
            assert kept["executionResult"] == ["begun"]


@pytest.mark.asyncio(loop_scope="session")
async def test_one_that_cannot_be_seen_for_a_moment_goes_on(open_pool: OpenPool) -> None:
    async with open_pool(PoolOptions(control_groups=False, preload=())) as client:
        running = await client.begin("import time; time.sleep(1); 'done'")
        while not running.done():
            with no_open_files():
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.4)
        assert (await running).json()["result"]["executionResult"] == "done"


def test_a_process_that_hides_its_pages_counts_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = usage.memory_bytes([ITSELF], above=1 << 60)
    opens = builtins.open

    def forbids(path: str, *arguments: Any) -> Any:
        if path.endswith("smaps_rollup"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opens(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", forbids)
        hidden = usage.memory_bytes([ITSELF], above=0)
    assert abs(hidden - whole) < 8 << 20
