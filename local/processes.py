"""Ends processes: on a signal in good order, and never later than the parent process.

`python -m local.processes PROGRAM …` runs a program that does not do so by itself.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def stop_with_parent() -> None:
    """Have this process receive SIGTERM when its parent ends, however that ends.

    The kernel does this on Linux only; elsewhere nothing happens, and only a parent that stops in
    good order takes this process along.
    """
    if sys.platform != "linux":
        return
    parent_pid = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent_pid:  # it ended before the kernel knew of our wish
        os.kill(os.getpid(), signal.SIGTERM)


async def until_signal[T](work: Coroutine[Any, Any, T]) -> T | None:
    """Run `work` to its end or until SIGINT or SIGTERM cancels it.

    A second signal ends the process at once, whatever `work` is cleaning up.

    Returns:
        What `work` returns; None if a signal ended it.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    signalled = False

    def stop() -> None:
        nonlocal signalled
        signalled = True
        task.cancel()
        _remove_handlers()

    def _remove_handlers() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if signalled:
            return None
        raise
    finally:
        _remove_handlers()


async def end(process: asyncio.subprocess.Process, timeout_s: float) -> None:
    """Have a process end, and wait for it; one that takes longer than `timeout_s` is killed."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(timeout_s):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


if __name__ == "__main__":
    stop_with_parent()
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 - becomes the program it was started for, whose words are arguments already
