"""Measures a session's memory and storage from outside."""

import contextlib
import math
import os
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# A fork bomb is stopped by its limit; reading a few hundred processes is enough to see its memory.
_MAX_PROCESSES = 1024
# So many processes and threads beside the kernel weigh as much as any; see sched(7) for the step.
_FREE_TASKS = 4
_WEIGHT_OF_A_STEP = 1.25


def processes_of(roots: tuple[int, ...]) -> list[int]:
    """Return the host's pids of `roots` and all that descends from them."""
    found: list[int] = []
    pending = [pid for pid in roots if pid]
    while pending and len(found) < _MAX_PROCESSES:
        pid = pending.pop()
        found.append(pid)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                children = Path(f"/proc/{pid}/task/{task}/children").read_bytes()
                pending.extend(map(int, children.split()))
        except OSError:  # gone meanwhile
            continue
    return found


def share_processor(pids: list[int], roots: tuple[int, ...]) -> None:
    """Give what a session starts beside its kernel the share of the processor of one process.

    The kernel's main thread keeps its own: the next cell is no slower for it. Raising niceness is
    allowed to every user; nothing in a session can lower it again.
    """
    tasks = [
        task for pid in pids for task in _threads_of(pid) if task not in roots and pid != roots[0]
    ]
    if len(tasks) <= _FREE_TASKS:
        return
    nice = min(19, math.ceil(math.log(len(tasks), _WEIGHT_OF_A_STEP)))
    for task in tasks:
        with contextlib.suppress(OSError):  # it has ended
            if os.getpriority(os.PRIO_PROCESS, task) < nice:
                os.setpriority(os.PRIO_PROCESS, task, nice)


def memory_bytes(pids: list[int], *, above: int) -> int:
    """Return the memory of processes together.

    What they share counts once for each at first, which is quick to read; only if that is more than
    `above` is each page divided among those who share it.
    """
    resident = sum(_resident_bytes(pid) for pid in pids)
    if resident <= above:
        return resident
    return sum(_proportional_bytes(pid) for pid in pids)


def _threads_of(pid: int) -> list[int]:
    try:
        return [*map(int, os.listdir(f"/proc/{pid}/task"))]
    except OSError:
        return []


def files_bytes(folders: list[int]) -> int:
    """Return the bytes stored in the file systems of the folders (descriptors): memory as well."""
    used = 0
    for folder in folders:
        status = os.fstatvfs(folder)
        used += (status.f_blocks - status.f_bfree) * status.f_frsize
    return used


def files_count(folder: int) -> int:
    """Return how many files and folders the file system of `folder` (a descriptor) holds."""
    status = os.fstatvfs(folder)
    return status.f_files - status.f_ffree


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def _proportional_bytes(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_bytes()
    except OSError:
        # Gone, or it does not let itself be looked at: then it counts in full.
        return _resident_bytes(pid)
    for line in rollup.splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) << 10
    return 0
