"""Kernels with a bubblewrap each: slower than the fork server, works in more places."""

import asyncio
import os
import subprocess
from collections.abc import Sequence

from local.session_pool.sandbox.guest import init
from local.session_pool.sandbox.kernel_process import KernelProcess, KernelStartError
from local.session_pool.sandbox.start import SandboxStarter


class PlainKernels:
    """Starts one sandbox for each kernel."""

    name = "plain"

    def __init__(self, starter: SandboxStarter, preload: Sequence[str] = ()) -> None:
        self._starter = starter
        self._preload = list(preload)
        self._reapers: set[asyncio.Task[None]] = set()
        # Made here: the filter, which holds from the start, would not allow it inside.
        self._programs = [each for each in (init.make_program(),) if each is not None]

    async def start(self) -> None:
        """Nothing runs until the first kernel is asked for."""

    async def spawn(self) -> KernelProcess:
        """See `KernelSource`."""
        kernel, uid = self._starter.make_kernel()
        starting = asyncio.ensure_future(
            self._starter.start(
                self._starter.runtime.command("plain", *kernel.guest_ends, *self._programs),
                nested=False,
                uid=uid,
                inherit=[*kernel.guest_ends, *self._programs],
                stdout=kernel.guest_stdout,
                stderr=kernel.guest_stderr,
            )
        )
        try:
            process = await asyncio.shield(starting)
        except OSError as error:
            kernel.close()
            raise KernelStartError(f"no sandbox can be started: {error}") from error
        except asyncio.CancelledError:  # the pool stops: what is being started must not stay
            process = await starting
            kernel.close()  # without its pipes it ends
            await asyncio.to_thread(process.wait)
            raise
        finally:
            kernel.close_guest_ends()
        reaper = asyncio.create_task(self._reap(process, kernel))
        self._reapers.add(reaper)
        reaper.add_done_callback(self._reapers.discard)
        try:
            await kernel.send({"limits": self._starter.limits.rlimits(), "preload": self._preload})
            await kernel.wait_for_hello()
        except BaseException as error:
            if isinstance(error, OSError):
                await asyncio.sleep(0.05)  # what it says comes after it is gone
            output = kernel.stderr.take(2000).text.strip()
            kernel.close()
            if isinstance(error, OSError):
                raise KernelStartError(output or str(error)) from error
            raise
        return kernel

    async def close(self) -> None:
        """See `KernelSource`."""
        if self._reapers:
            await asyncio.wait(self._reapers)
        for program in self._programs:
            os.close(program)
        self._programs.clear()

    @staticmethod
    async def _reap(process: subprocess.Popen[bytes], kernel: KernelProcess) -> None:
        """Wait for bubblewrap itself, so that it does not stay as a zombie."""
        await kernel.died.wait()
        await asyncio.to_thread(process.wait)
