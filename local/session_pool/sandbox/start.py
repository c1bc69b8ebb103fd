"""Shared by both ways of starting kernels: filter, user, options, and a thread that stays."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from local.session_pool.sandbox import bubblewrap, launcher, seccomp
from local.session_pool.sandbox.kernel_process import KernelProcess
from local.session_pool.sandbox.limits import SessionLimits
from local.session_pool.sandbox.runtime import GuestRuntime
from local.session_pool.sandbox.throwaway_users import ThrowawayUsers
from local.session_pool.sandbox.user_namespace import UserNamespace

T = TypeVar("T")


class SandboxStarter:
    """Starts bubblewrap for a runtime and limits, as many times as asked."""

    def __init__(self, runtime: GuestRuntime, limits: SessionLimits) -> None:
        self.runtime = runtime
        self.limits = limits
        self.users = ThrowawayUsers.find()
        self.seccomp_program = seccomp.build_filter()
        self._bubblewrap = bubblewrap.find_bubblewrap()
        self._mount_point = launcher.find_mount_point() if self.users is not None else None
        # `--die-with-parent` follows the thread that starts a sandbox: this one stays.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sandbox-starter")

    async def start(
        self,
        command: Sequence[str],
        *,
        nested: bool,
        uid: int | None,
        inherit: Sequence[int],
        stdout: int,
        stderr: int,
    ) -> subprocess.Popen[bytes]:
        """Start `command` inside as `uid`, None for us; see `bubblewrap.arguments` for `nested`."""

        def launch() -> subprocess.Popen[bytes]:
            relocated: dict[Path, Path] = {}
            if self._mount_point is not None:
                folders = [source for source, _ in self.runtime.binds]
                relocated = launcher.relocations([*folders, bubblewrap.ETC], self._mount_point)
            with contextlib.ExitStack() as resources:
                given, namespace, filter_descriptor = [*inherit], None, None
                if nested and self.users is not None:
                    namespace = UserNamespace.of(self.users.uid_map)
                    resources.callback(namespace.close)
                    given += namespace.ends
                if not nested:
                    filter_descriptor = os.memfd_create("seccomp", 0)
                    resources.callback(os.close, filter_descriptor)
                    os.write(filter_descriptor, self.seccomp_program)
                    os.lseek(filter_descriptor, 0, os.SEEK_SET)
                    given.append(filter_descriptor)
                options = bubblewrap.arguments(
                    self.runtime,
                    self.limits,
                    relocated=relocated,
                    nested=nested,
                    seccomp_descriptor=filter_descriptor,
                )
                if namespace is not None:
                    options += namespace.options()
                start = launcher.Launch(
                    self._bubblewrap,
                    options,
                    command,
                    uid,
                    relocated,
                    None if namespace is None else namespace.step(),
                )
                return start.start(inherit=given, stdout=stdout, stderr=stderr)

        return await self.in_thread(launch)

    def make_kernel(self) -> tuple[KernelProcess, int | None]:
        """Return the host's side of a kernel, and the user that it gets; None for us.

        Raises:
            KernelStartError: there are no users or no open files left.
        """
        if self.users is None:
            return KernelProcess(), None
        users, uid = self.users, self.users.take()
        try:
            kernel = KernelProcess()
        except BaseException:
            users.give_back(uid)
            raise
        kernel.when_closed(lambda: users.give_back(uid))
        return kernel, uid

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()
