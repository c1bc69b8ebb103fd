"""Becomes an ordinary user and runs a program: `as_user.py UID PROGRAM...`, as root.

A Python or a project below a home that is closed to others is shown to the user in a mount
namespace of its own.
"""

import ctypes
import os
import sys
from pathlib import Path

_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    uid, program = int(sys.argv[1]), sys.argv[2:]
    os.unshare(os.CLONE_NEWNS)
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    for folder in (Path(sys.base_prefix), Path(program[0]).parent.parent):
        closed = next((each for each in reversed(folder.parents) if _is_closed(each)), None)
        if closed is not None:
            _uncover(closed, folder)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    environment = {"HOME": "/nonexistent", "PATH": os.defpath, "LANG": "C.UTF-8"}
    os.execve(program[0], program, environment)  # noqa: S606 - becomes the program of its own arguments: nothing of root's may stay behind it


def _is_closed(folder: Path) -> bool:
    return not folder.stat().st_mode & 0o001


def _uncover(closed: Path, folder: Path) -> None:
    """Cover `closed` by an empty folder that is open to all and shows only `folder`."""
    mount_point = Path("/mnt")
    _mount("tmpfs", str(mount_point), "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755")
    (mount_point / "it").mkdir()
    _mount(str(folder), str(mount_point / "it"), "", _MS_BIND)
    _mount("tmpfs", str(closed), "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755")
    folder.mkdir(parents=True)
    _mount(str(mount_point / "it"), str(folder), "", _MS_BIND)


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    arguments = (source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags))
    if _libc.mount(*arguments, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), f"mount {target}")


if __name__ == "__main__":
    main()
