"""Starts bubblewrap, as root by way of a throw-away user.

Run as a program (`main`) it is the step between: the throw-away user could not reach a Python below
/root, so in a mount namespace of its own every folder is first bound to a path that is open to all.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND, _MS_REC = 1, 2, 4, 32, 4096, 16384
_MS_PRIVATE = 1 << 18
# So soon bubblewrap takes its next step, however busy the machine is.
_GOES_ON_MS = 1000


@dataclass(frozen=True)
class Launch:
    """One start of bubblewrap.

    Attributes:
        bubblewrap: path of bwrap.
        options: its options.
        command: what runs inside.
        uid: throw-away user, None to stay who we are.
        relocated: folders to bind elsewhere first; only with `uid`.
        users: from `UserNamespace.step`; only with `uid`.
    """

    bubblewrap: str
    options: Sequence[str]
    command: Sequence[str]
    uid: int | None
    relocated: dict[Path, Path]
    users: dict[str, Any] | None = None

    def start(self, *, inherit: Sequence[int], stdout: int, stderr: int) -> subprocess.Popen[bytes]:
        """Start it; `inherit` are descriptors that it keeps.

        The calling thread must live as long as the sandbox: `--die-with-parent` follows the thread.
        Where the pool is killed before bubblewrap asks for that, what runs inside has to notice.
        Nobody else may end it meanwhile: a bubblewrap that is killed between two of its steps
        leaves the next one waiting for ever.
        The environment is empty because pid 1 inside keeps it readable.
        """
        options = os.memfd_create("options", 0)
        os.write(options, b"".join(each.encode() + b"\0" for each in self.options))
        os.lseek(options, 0, os.SEEK_SET)
        command = [self.bubblewrap, "--args", str(options), "--", *self.command]
        if self.uid is not None:
            step = {
                "uid": self.uid,
                "mounts": {str(source): str(target) for source, target in self.relocated.items()},
                "command": command,
                "users": self.users,
            }
            command = [sys.executable, "-I", "-S", __file__, json.dumps(step)]
        try:
            return subprocess.Popen(  # noqa: S603 - bubblewrap with options from a descriptor, or this file; no word of it is a session's
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=[options, *inherit],
                env={},
                cwd="/",
            )
        finally:
            os.close(options)


def relocations(folders: Sequence[Path], mount_point: Path) -> dict[Path, Path]:
    """Say where each folder is found below `mount_point` by a user who is not root."""
    return {folder: mount_point / f"{n}" for n, folder in enumerate(folders)}


def find_mount_point() -> Path:
    """Return a folder that every user can enter; it is covered where nobody else sees it.

    Not /tmp, which bubblewrap covers itself.
    """
    for folder in map(Path, ("/mnt", "/media", "/srv", "/opt")):
        if folder.is_dir() and folder.stat().st_mode & 0o001:
            return folder
    raise OSError("one of /mnt, /media, /srv and /opt must be a folder that every user can enter")


def main() -> None:
    """Bind, become the user, exec."""
    step = json.loads(sys.argv[1])
    mounts: dict[str, str] = step["mounts"]
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
        arguments = (source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags))
        if libc.mount(*arguments, options.encode()) != 0:
            raise OSError(ctypes.get_errno(), f"mount {target}")

    if mounts:
        os.unshare(os.CLONE_NEWNS)
        mount("none", "/", "", _MS_REC | _MS_PRIVATE)
        # The mount point may cover a source: they are held open before.
        sources = {source: os.open(source, os.O_PATH) for source in mounts}
        mount_point = os.path.dirname(next(iter(mounts.values())))
        mount("tmpfs", mount_point, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755,size=64k")
        for source, target in mounts.items():
            os.mkdir(target)
            mount(f"/proc/self/fd/{sources[source]}", target, "", _MS_BIND)
            mount("none", target, "", _MS_BIND | _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)
    if step["users"]:
        _fill_beside(step["users"]["map"], *step["users"]["ends"])
    # What a session may have counts for this user as well, where there is one for all of them.
    for limit in (resource.RLIMIT_NPROC, resource.RLIMIT_SIGPENDING, resource.RLIMIT_CORE):
        with contextlib.suppress(OSError, ValueError):  # not allowed to root of this container
            resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    os.setgroups([])
    os.setresgid(step["uid"], step["uid"], step["uid"])
    os.setresuid(step["uid"], step["uid"], step["uid"])
    os.execve(step["command"][0], step["command"], {})  # noqa: S606 - becomes bubblewrap: a shell would run as the session's user before it is closed in


def _fill_beside(users: str, info: int, said: int, waits: int, go: int) -> None:
    """Have a child of this process, which becomes bubblewrap, fill the namespace that that makes.

    Not the pool, which may be killed: bubblewrap would end then, and what it had started would wait
    for it for ever.
    """
    if os.fork() != 0:
        os.close(info)
        os.close(go)
        return
    pidfds = []
    try:
        # Whoever still had the pool's sockets would keep others from seeing that they are closed.
        first, last = sorted((info, go))
        for begin, end in ((3, first), (first + 1, last), (last + 1, 1 << 20)):
            os.closerange(begin, end)
        pidfds.append(os.pidfd_open(os.getppid()))
        text = b""
        while part := os.read(info, 4096):
            text += part
        if text:  # otherwise it has ended, and says why itself
            child = json.loads(text)["child-pid"]
            pidfds.append(os.pidfd_open(child))
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{child}/{name}").write_text(users)
            os.write(go, b"1")
            poll = select.poll()
            poll.register(pidfds[0], select.POLLIN)
            if poll.poll(_GOES_ON_MS):
                raise ChildProcessError("bubblewrap was killed")
    except BaseException as error:
        os.write(2, f"no users for the sandbox: {error}".encode())
        for pidfd in reversed(pidfds):
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
