"""Control groups: the kernel itself holds a session to its memory and its number of processes.

Usable where this process may make groups: as root on most machines, or in a delegated subtree.
Where not, resource limits and the watchdog do what they can.
"""

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from local.session_pool.sandbox.limits import SessionLimits

_ROOT = Path("/sys/fs/cgroup")
_PREFIX = "session-pool-"
_REMOVE_ATTEMPTS = 50


class SessionGroup:
    """The group or groups of one session."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders

    def add(self, pids: Sequence[int]) -> None:
        """Move processes in; what they start later is in it too. Before any code of the guest."""
        for folder in self._folders:
            for pid in pids:
                if pid:
                    (folder / "cgroup.procs").write_text(str(pid))

    def remove(self) -> None:
        """Remove it; every process has ended. Blocks for up to half a second."""
        for folder in self._folders:
            _remove(folder)


@dataclass(frozen=True)
class ControlGroups:
    """Makes a group for each session.

    Attributes:
        version: of the kernel's interface, 1 or 2.
        parents: one folder for each controller (version 1) or one for all (version 2).
        share_processor: whether a session with many processes gets no more of the processor than
            one with one; a subtree may have been handed to us without that.
    """

    version: int
    parents: tuple[Path, ...]
    share_processor: bool

    @classmethod
    def find(cls) -> "ControlGroups | None":
        """Return a place to make groups in, None where there is none."""
        name = f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        return cls._find_version_2(name) or cls._find_version_1(name)

    @classmethod
    def _find_version_2(cls, name: str) -> "ControlGroups | None":
        if not (_ROOT / "cgroup.controllers").exists():
            return None
        # The root group may have processes and still hand its controllers down; others may not.
        for base in (_ROOT, _ROOT / _own_group("")):
            parent = base / name
            try:
                (base / "cgroup.subtree_control").write_text("+memory +pids")
                _remove_left_behind(base)
                parent.mkdir()
                (parent / "cgroup.subtree_control").write_text("+memory +pids")
                with contextlib.suppress(OSError):  # as in version 1
                    (base / "cgroup.subtree_control").write_text("+cpu")
                    (parent / "cgroup.subtree_control").write_text("+cpu")
            except OSError:
                with contextlib.suppress(OSError):
                    parent.rmdir()
                continue
            controllers = (parent / "cgroup.subtree_control").read_text().split()
            return cls(2, (parent,), "cpu" in controllers)
        return None

    @classmethod
    def _find_version_1(cls, name: str) -> "ControlGroups | None":
        parents: list[Path] = []
        try:
            for controller in ("memory", "pids"):
                parent = _ROOT / controller / _own_group(controller) / name
                if not (parent.parent / "cgroup.procs").exists():
                    raise FileNotFoundError(errno.ENOENT, controller)
                _remove_left_behind(parent.parent)
                parent.mkdir()
                parents.append(parent)
        except OSError:
            for parent in parents:
                _remove(parent)
            return None
        # Optional, as in version 2.
        with contextlib.suppress(OSError):
            parent = _ROOT / "cpu" / _own_group("cpu") / name
            _remove_left_behind(parent.parent)
            parent.mkdir()
            parents.append(parent)
        return cls(1, tuple(parents), len(parents) == 3)

    def make(self, limits: SessionLimits) -> SessionGroup:
        """Return a new group with a session's limits.

        Raises:
            OSError: the kernel does not let us.
        """
        name = secrets.token_hex(8)
        folders = [parent / name for parent in self.parents]
        for folder in folders:
            folder.mkdir()
        memory, pids = (folders[0], folders[0] if self.version == 2 else folders[1])
        # The pool's own two processes per session come on top.
        (pids / "pids.max").write_text(str(limits.processes + 2))
        if self.version == 2:
            (memory / "memory.max").write_text(str(limits.memory_bytes))
            _write_if_there(memory / "memory.swap.max", "0")
            (memory / "memory.oom.group").write_text("1")
        else:
            (memory / "memory.limit_in_bytes").write_text(str(limits.memory_bytes))
            _write_if_there(memory / "memory.memsw.limit_in_bytes", str(limits.memory_bytes))
        return SessionGroup(folders)

    def close(self) -> None:
        """Remove what `find` made."""
        for parent in self.parents:
            _remove(parent)


def _write_if_there(file: Path, text: str) -> None:
    """Set a limit that a kernel without swap accounting does not have; fails as writing does."""
    if file.exists():
        file.write_text(text)


def _own_group(controller: str) -> str:
    """Return the path of this process's group, relative; version 2 has no controller name."""
    with open("/proc/self/cgroup") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if controller in controllers.split(","):
                return path.lstrip("/")
    return ""


def _remove_left_behind(base: Path) -> None:
    """Remove the groups of pools that were killed before they could."""
    for folder in base.glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if Path(f"/proc/{pid}").exists():
            continue
        for group in (*folder.glob("*/"), folder):
            with contextlib.suppress(OSError):
                group.rmdir()


def _remove(folder: Path) -> None:
    for _ in range(_REMOVE_ATTEMPTS):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:  # the last process is still being taken apart
            time.sleep(0.01)
        else:
            return
