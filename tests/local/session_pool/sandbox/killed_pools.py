"""Kills pools while they start sessions; prints how many processes are left behind, as JSON.

A program of its own, to run as another user: `python -m … WAY FOLDER`. FOLDER has a bubblewrap that
takes a while before it begins, so that most of the kills come before it has asked to end with its
parent; the others come while the session starts. WAY is `plain` or `fork server`; `control` starts
bubblewrap by itself, which is left behind.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from local.session_pool.image import find_session_image
from local.session_pool.sandbox.fork_server import ForkServerKernels
from local.session_pool.sandbox.kernels import KernelSource
from local.session_pool.sandbox.limits import SessionLimits
from local.session_pool.sandbox.plain import PlainKernels
from local.session_pool.sandbox.runtime import GuestRuntime
from local.session_pool.sandbox.start import SandboxStarter

_PR_SET_CHILD_SUBREAPER = 36
_SLOW_S = 0.1
_CONTROL = [
    *("--die-with-parent", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc"),
    *("--", "/bin/sleep", "60"),
]


def write_slow_bubblewrap(folder: Path) -> None:
    script = folder / "bwrap"
    script.write_text(f'#!/bin/sh\n/bin/sleep {_SLOW_S}\nexec {shutil.which("bwrap")} "$@"\n')
    script.chmod(0o755)


async def start_sessions(way: str, image: Path) -> None:
    """What a pool does at its start; never returns."""
    starter = SandboxStarter(GuestRuntime.of_this_interpreter(image), SessionLimits())
    if way == "plain":
        source: KernelSource = PlainKernels(starter)
    else:
        source = ForkServerKernels(starter, ())
        await source.start()
    kept = await asyncio.gather(source.spawn(), source.spawn())
    await asyncio.sleep(60)
    del kept


def started(way: str, image: Path) -> int:
    """Fork a pool; return its pid."""
    pool = os.fork()
    if pool == 0:
        with contextlib.suppress(BaseException):
            if way == "control":
                subprocess.Popen([f"{sys.argv[2]}/bwrap", *_CONTROL], close_fds=False)
                time.sleep(60)
            asyncio.run(start_sessions(way, image))
        os._exit(1)
    return pool


def left_behind(wait_s: float) -> int:
    """Wait until this process, which inherits orphans, has no child; or count and kill them."""
    until_s = time.monotonic() + wait_s
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < until_s:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
            time.sleep(0.02)
    found = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    for pid in found:
        os.kill(int(pid), signal.SIGKILL)
    return len(found)


def main() -> None:
    way = sys.argv[1]
    os.environ["PATH"] = f"{sys.argv[2]}:{os.defpath}"  # noqa: TID251 - pools look for bubblewrap there: it shall be the slow one
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    image = find_session_image()
    assert image is not None
    # Before bubblewrap begins, while it makes its namespaces, while Python starts in them, later.
    pauses_s = [0.03, 0.06, *(_SLOW_S + n / 100 for n in range(5)), 0.2, 0.4]
    if way == "control":
        pauses_s = pauses_s[:2]
    pools = [started(way, image) for _ in pauses_s]
    begun_s = time.monotonic()
    for pool, pause_s in zip(pools, pauses_s, strict=True):
        time.sleep(max(0.0, begun_s + pause_s - time.monotonic()))
        os.kill(pool, signal.SIGKILL)
    left = left_behind(1 if way == "control" else 20)
    print(json.dumps({"user": os.getuid(), "left": left, "kills": len(pools)}))


if __name__ == "__main__":
    main()
