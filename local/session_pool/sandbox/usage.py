"""Measures from outside what a session takes: memory of each kind, storage, what is kept for it.

A process that has ended takes nothing. Whatever else stands in the way of a look raises `OSError`:
what cannot be seen must not count as nothing.
"""

import contextlib
import errno
import math
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path

from local.session_pool.sandbox import tcp_memory

# ENOENT and ESRCH: the only errors of /proc that mean that a process has ended.
GONE = (FileNotFoundError, ProcessLookupError)

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# A fork bomb is stopped by its limit; reading a few hundred processes is enough to see its memory.
_MAX_PROCESSES = 1024
# What the kernel keeps for a file or folder; for a place in epoll, of which there is one for each
# pair of descriptors: more than for pipes, timers or anything else that can be open.
_INODE_BYTES, _WATCH_BYTES = 1 << 10, 200
_MAX_LOCKS_BYTES = 128 << 10


def _setting(path: str, otherwise: int) -> int:
    try:
        return int(Path(f"/proc/sys/net/{path}").read_text().split()[-1])
    except (OSError, ValueError):
        return otherwise


# A socket that may send sends one more message, which may be as large as its buffer.
_SOCKET_BYTES = 2 * _setting("core/wmem_default", 212992) + _setting("core/rmem_default", 212992)
_TCP_BYTES = _setting("ipv4/tcp_rmem", 6 << 20) + _setting("ipv4/tcp_wmem", 4 << 20)
_TCP_TIMEOUT_S = 10
# So many processes and threads beside the kernel weigh as much as any; see sched(7) for the step.
_FREE_TASKS = 4
_GROUP_S = 0.1
_WEIGHT_OF_A_STEP = 1.25


def processes_of(roots: tuple[int, ...]) -> list[int]:
    """Return the host's pids of `roots` and all that descends from them, each once."""
    found: dict[int, None] = {}
    pending = [pid for pid in roots if pid]
    while pending and len(found) < _MAX_PROCESSES:
        pid = pending.pop()
        if pid in found:
            continue
        found[pid] = None
        for task in threads_of(pid):
            with contextlib.suppress(*GONE):  # the others are not
                children = Path(f"/proc/{pid}/task/{task}/children").read_bytes()
                pending.extend(map(int, children.split()))
    return [*found]


def share_processor(pids: list[int], roots: tuple[int, ...]) -> None:
    """Give what a session starts beside its kernel the share of the processor of one process.

    The kernel's main thread keeps its own: the next cell is no slower for it. Raising niceness is
    allowed to every user; nothing in a session can lower it again. Where Linux gives each group
    that `setsid` makes a share of its own (see sched(7), autogroup), that share is made as small.
    Blocks for a tenth of a second for each such group: an ordinary user has to wait so long.
    """
    tasks = [
        task for pid in pids for task in threads_of(pid) if task not in roots and pid != roots[0]
    ]
    if len(tasks) <= _FREE_TASKS:
        return
    nice = min(19, math.ceil(math.log(len(tasks), _WEIGHT_OF_A_STEP)))
    for task in tasks:
        # A container may forbid it; no limit depends on it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpriority(os.PRIO_PROCESS, task) < nice:
                os.setpriority(os.PRIO_PROCESS, task, nice)
    with contextlib.ExitStack() as opened:
        larger = _autogroups_of(pids, opened)
        larger.pop(next(iter(_autogroups_of([roots[1]], opened)), b""), None)
        for file, value in larger.values():
            if value < nice:
                with contextlib.suppress(*GONE, PermissionError, BlockingIOError):
                    file.write(b"%d" % nice)
                time.sleep(_GROUP_S)


def _autogroups_of(
    pids: list[int], opened: contextlib.ExitStack
) -> dict[bytes, tuple[RawIOBase, int]]:
    """Return the groups that processes are scheduled in: each by its name, with its niceness.

    An open file stays that of its process: by then its number may be another's.
    """
    found: dict[bytes, tuple[RawIOBase, int]] = {}
    for pid in pids:
        try:
            file = opened.enter_context(open(f"/proc/{pid}/autogroup", "r+b", buffering=0))  # noqa: SIM115 - `opened` is its context manager, the caller's, which needs the file longer
            name, _, nice = file.read(100).split()
        except (*GONE, PermissionError, ValueError):
            continue
        if name in found:
            file.close()
        else:
            found[name] = (file, int(nice))
    return found


def memory_bytes(pids: list[int], *, above: int) -> int:
    """Return the memory of processes together, but for files in memory: see `files_bytes`.

    What they share counts once for each at first, which is quick to read; only if that is more than
    `above` is each page divided among those who share it.
    """
    found = [_memory_of(pid) for pid in pids]
    used = sum(memory.pages_bytes + memory.kept_bytes for memory in found)
    if used <= above:
        return used
    return sum(_proportional_bytes(memory) + memory.kept_bytes for memory in found)


def kept_bytes(pids: list[int]) -> int:
    """Return what the kernel keeps for processes beside their pages, at most."""
    return sum(_memory_of(pid).kept_bytes for pid in pids)


def sockets_bytes(pid: int) -> tuple[int, int]:
    """Return how much may wait in the sockets of the network namespace of `pid`.

    A socket's own buffers can be full, see `seccomp` for their size. Those of TCP grow.

    Returns:
        What all buffers may hold as they are at first, and what those of TCP may hold beyond: the
        smaller of what they may grow to, and what TCP has on all of the machine.
    """
    try:
        text = Path(f"/proc/{pid}/net/sockstat").read_text()
    except GONE:
        return 0, 0
    except OSError as error:
        if error.errno == errno.ENXIO:  # the namespace has ended, and not only the process
            return 0, 0
        raise
    used = int(text.split(maxsplit=3)[2])
    tcp = next(line for line in text.splitlines() if line.startswith("TCP:"))
    of_machine = int(tcp.rpartition(" ")[2]) * _PAGE_BYTES
    return used * _SOCKET_BYTES, min(used * _TCP_BYTES, of_machine)


def tcp_bytes(pid: int, at_first: int, beyond: int) -> int:
    """Return what TCP sockets hold beyond their first buffers, which takes a process to find out.

    Args:
        pid: as for `sockets_bytes`.
        at_first: what that has returned,
        beyond: and the most that it can be.
    """
    try:
        listed, held = _tcp_sockets(pid)
        # Out of the lists fall sockets that are closed on both sides, with what nobody read.
        listed += len(Path(f"/proc/{pid}/net/unix").read_bytes().splitlines()) - 1
    except OSError:  # they cannot be seen
        return beyond
    return min(beyond, held + max(0, at_first // _SOCKET_BYTES - listed) * _TCP_BYTES)


def _tcp_sockets(pid: int) -> tuple[int, int]:
    """Return how many TCP sockets are listed in the network namespace of `pid`, and their bytes."""
    command = [sys.executable, "-I", "-S", tcp_memory.__file__, str(pid)]
    try:
        result = subprocess.run(  # noqa: S603 - tcp_memory.py of this package and a number
            command, capture_output=True, timeout=_TCP_TIMEOUT_S, check=True, env={}
        )
        listed, held = map(int, result.stdout.split())
    except (subprocess.SubprocessError, ValueError) as error:
        raise OSError("the sockets of a session cannot be seen") from error
    return listed, held


def locks_count(pids: list[int]) -> int:
    """Return how many locks on ranges of files processes hold, of the newest on this machine.

    The kernel has memory for as many as anybody likes.
    """
    of_session = {str(pid).encode() for pid in pids}
    with open("/proc/locks", "rb") as file:
        locks = [line.split() for line in file.read(_MAX_LOCKS_BYTES).splitlines()]
    # The last fields are process, file, start and end.
    return sum(len(lock) > 6 and lock[-4] in of_session for lock in locks)


def terminals_count(shm: int) -> int:
    """Return how many pseudo terminals a session has, by its /dev/shm (a descriptor).

    Not by /proc: a container may forbid to look at a process's root folder.
    """
    try:
        folder = os.open("../pts", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=shm)
    except GONE:
        return 0
    try:
        return len(os.listdir(folder)) - 1  # ptmx is no terminal
    finally:
        os.close(folder)


def threads_of(pid: int) -> list[int]:
    """Return the threads of a process; none when it has ended."""
    try:
        return [*map(int, os.listdir(f"/proc/{pid}/task"))]
    except GONE:
        return []


def files_bytes(folders: list[int]) -> int:
    """Return the bytes stored in the file systems of the folders (descriptors): memory as well."""
    used = 0
    for folder in folders:
        status = os.fstatvfs(folder)
        used += (status.f_blocks - status.f_bfree) * status.f_frsize
        used += (status.f_files - status.f_ffree) * _INODE_BYTES
    return used


def files_count(folder: int) -> int:
    """Return how many files and folders the file system of `folder` (a descriptor) holds."""
    status = os.fstatvfs(folder)
    return status.f_files - status.f_ffree


@dataclass(frozen=True)
class _Memory:
    """Memory of one process.

    Attributes:
        folder: in /proc, of a thread that still has the process's memory.
        pages_bytes: its pages, those swapped out too, without files in memory.
        kept_bytes: what the kernel keeps for it: page tables, and for its descriptors at most.
    """

    folder: str
    pages_bytes: int
    kept_bytes: int


def _memory_of(pid: int) -> _Memory:
    # Where the first thread has ended, what it shared with the others is found at those.
    for folder in (f"/proc/{pid}", *(f"/proc/{pid}/task/{task}" for task in threads_of(pid))):
        values = _values_of(f"{folder}/status")
        if b"RssAnon" in values:
            pages = sum(values.get(name, 0) for name in (b"RssAnon", b"RssFile", b"VmSwap"))
            kept = values.get(b"VmPTE", 0) << 10
            watches = values.get(b"FDSize", 0) ** 2 // 4
            return _Memory(folder, pages << 10, kept + watches * _WATCH_BYTES)
    return _Memory("", 0, 0)


def _proportional_bytes(memory: _Memory) -> int:
    try:
        values = _values_of(f"{memory.folder}/smaps_rollup")
    except PermissionError:
        values = {}
    if b"Pss" not in values:
        # Gone, or it does not let itself be looked at: then it counts in full.
        return memory.pages_bytes if b"RssAnon" in _values_of(f"{memory.folder}/status") else 0
    return (values[b"Pss"] - values.get(b"Pss_Shmem", 0) + values.get(b"SwapPss", 0)) << 10


def _values_of(path: str) -> dict[bytes, int]:
    """Return the numbers in a file of /proc by their names."""
    try:
        with open(path, "rb") as file:
            lines = [line.split(b":", 1) for line in file]
    except GONE:
        return {}
    found = {}
    for name, *rest in lines:
        words = rest[0].split(None, 1) if rest else []
        if words and words[0].isdigit():
            found[name] = int(words[0])
    return found
