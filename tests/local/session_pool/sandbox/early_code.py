"""Runs code that goes for pid 1 as soon as a session can run any; prints where it won, as JSON.

A program of its own, to run as another user: `python -m … CASE`. CASE is `race`: many sessions
start at once on one core, beside processes that keep it busy; `slow`: pid 1 takes a while to lock
itself in; or `control`: it does, and nobody waits for it.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from local.session_pool.image import find_session_image
from local.session_pool.sandbox.fork_server import ForkServerKernels
from local.session_pool.sandbox.guest import frames
from local.session_pool.sandbox.kernels import KernelSource
from local.session_pool.sandbox.limits import SessionLimits
from local.session_pool.sandbox.plain import PlainKernels
from local.session_pool.sandbox.runtime import GuestRuntime
from local.session_pool.sandbox.start import SandboxStarter

_ATTACK = """
won = set()
for _ in range(100):
    for path, mode in (("mem", "r+b"), ("maps", "rb"), ("environ", "rb"), ("auxv", "rb")):
        try:
            open(f"/proc/1/{path}", mode).close()
            won.add(path)
        except OSError:
            pass
    status = open("/proc/1/status").read()
    if "Seccomp:\\t2" not in status or "NoNewPrivs:\\t1" not in status:
        won.add("filter")
print(*sorted(won))
"""
_BUSY, _FORKED, _PLAIN = 4, 16, 4
_BEGINS = "    try:\n        if _libc.prctl"
_GUEST = Path(frames.__file__).parent
_WAITS = "    init.wait_until_ready(ready)\n"


@contextlib.contextmanager
def guest_of(case: str) -> Iterator[Path]:
    """A copy of the program inside, changed as the case wants it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        guest = Path(folder) / "guest"
        shutil.copytree(_GUEST, guest, ignore=shutil.ignore_patterns("__pycache__"))
        if case != "race":
            _replace(guest / "init.py", _BEGINS, f"    __import__('time').sleep(2)\n{_BEGINS}")
        if case == "control":
            for name in ("plain.py", "fork_server.py"):
                _replace(guest / name, _WAITS, "")
        yield guest


@contextlib.contextmanager
def one_busy_core() -> Iterator[None]:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    busy = [
        subprocess.Popen([sys.executable, "-I", "-S", "-c", "while True: pass"])
        for _ in range(_BUSY)
    ]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, (file, old)
    file.write_text(text.replace(old, new))


async def won_of(source: KernelSource, count: int) -> list[str]:
    await source.start()
    won = await asyncio.gather(*(attacked(source) for _ in range(count)))
    await source.close()
    return sorted({path for each in won for path in each})


async def attacked(source: KernelSource) -> list[str]:
    kernel = await source.spawn()
    try:
        kernel.stdout.begin(1000)
        await kernel.execute(_ATTACK)
        return kernel.stdout.take(1000).text.split()
    finally:
        await kernel.kill()
        kernel.close()


async def main() -> None:
    case, image = sys.argv[1], find_session_image()
    assert image is not None
    with contextlib.ExitStack() as resources:
        guest = resources.enter_context(guest_of(case))
        if case == "race":
            resources.enter_context(one_busy_core())
        runtime = GuestRuntime.of_this_interpreter(image)
        binds = [(guest if host == _GUEST else host, inside) for host, inside in runtime.binds]
        runtime = dataclasses.replace(runtime, binds=tuple(binds))
        starter = SandboxStarter(runtime, SessionLimits())
        resources.callback(starter.close)
        is_race = case == "race"
        forked, plain = await asyncio.gather(
            won_of(ForkServerKernels(starter, ()), _FORKED if is_race else 1),
            won_of(PlainKernels(starter), _PLAIN if is_race else 1),
        )
    print(json.dumps({"user": os.getuid(), "won": {"fork server": forked, "plain": plain}}))


if __name__ == "__main__":
    asyncio.run(main())
