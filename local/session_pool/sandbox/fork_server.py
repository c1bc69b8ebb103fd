"""Kernels forked from one warm interpreter: ready in milliseconds, with libraries loaded."""

import asyncio
import base64
import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Sequence

from local.session_pool.sandbox.bubblewrap import EMPTY
from local.session_pool.sandbox.kernel_process import KernelProcess, KernelStartError
from local.session_pool.sandbox.limits import MASKED
from local.session_pool.sandbox.output import OutputStream
from local.session_pool.sandbox.start import SandboxStarter

_READY_TIMEOUT_S = 60
# More at once only queue inside the server, which forks one after the other.
_CONCURRENT_FORKS = 4


class ForkServerKernels:
    """Runs the fork server and asks it for kernels; starts it again when it has died."""

    name = "fork server"

    def __init__(self, starter: SandboxStarter, preload: Sequence[str]) -> None:
        self._starter = starter
        self._preload = list(preload)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._forks = asyncio.Semaphore(_CONCURRENT_FORKS)
        self._restart = asyncio.Lock()

    async def start(self) -> None:
        """See `KernelSource`."""
        with contextlib.ExitStack() as failing, contextlib.ExitStack() as given:
            control, guest_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            failing.callback(control.close)
            given.callback(guest_control.close)
            control.setblocking(False)
            read, write = os.pipe()
            given.callback(os.close, write)
            output = OutputStream(read)
            failing.callback(output.close)
            users = self._starter.users
            self._process = await self._starter.start(
                self._starter.runtime.command("fork_server", guest_control.fileno()),
                nested=True,
                uid=None if users is None else users.server,
                inherit=[guest_control.fileno()],
                stdout=write,
                stderr=write,
            )
            failing.pop_all()
        configuration = {
            "preload": self._preload,
            "limits": self._starter.limits.rlimits(),
            "masked": MASKED,
            "empty": EMPTY,
            "tmpfs": self._starter.limits.tmpfs(),
            "terminals": self._starter.limits.terminals,
            "seccomp": base64.b64encode(self._starter.seccomp_program).decode(),
        }
        try:
            control.send(json.dumps(configuration).encode())
            await self._until_ready(control, output)
        except BaseException:
            control.close()
            await self._stop()
            raise
        finally:
            output.close()
        self._control = control

    @staticmethod
    async def _until_ready(control: socket.socket, output: OutputStream) -> None:
        try:
            async with asyncio.timeout(_READY_TIMEOUT_S):
                ready = await asyncio.get_running_loop().sock_recv(control, 4096)
        except TimeoutError:
            raise KernelStartError("the fork server was not ready in time") from None
        except ConnectionResetError:
            ready = b""
        if not ready:
            await asyncio.sleep(0.05)  # what it says comes after it is gone
            raise KernelStartError(output.take(2000).text.strip() or "the fork server ended")

    async def spawn(self) -> KernelProcess:
        """See `KernelSource`."""
        async with self._forks:
            await self._ensure_running()
            kernel, uid = self._starter.make_kernel()
            users = self._starter.users
            inside = None if users is None or uid is None else users.inside(uid)
            ends = [*kernel.guest_ends, kernel.guest_stdout, kernel.guest_stderr]
            try:
                if self._control is None:
                    raise KernelStartError("the fork server is not running")
                socket.send_fds(self._control, [json.dumps({"uid": inside}).encode()], ends)
            except OSError as error:
                kernel.close()
                raise KernelStartError(f"the fork server is gone: {error}") from error
            finally:
                kernel.close_guest_ends()
            try:
                await kernel.wait_for_hello()
            except BaseException:
                kernel.close()
                raise
            return kernel

    async def close(self) -> None:
        """See `KernelSource`."""
        await self._stop()

    async def _ensure_running(self) -> None:
        async with self._restart:
            if self._process is not None and self._process.poll() is not None:
                await self._stop()
                await self.start()

    async def _stop(self) -> None:
        """The server ends when its control socket closes, and its sandbox with it."""
        if self._control is not None:
            self._control.close()
            self._control = None
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await asyncio.to_thread(process.wait)
