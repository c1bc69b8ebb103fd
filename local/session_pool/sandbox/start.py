"""Shared by both ways of starting kernels: filter, user, options, and a thread that stays."""

import asyncio
import os
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from local.session_pool.sandbox import bubblewrap, launcher, seccomp, throwaway_user
from local.session_pool.sandbox.limits import SessionLimits
from local.session_pool.sandbox.runtime import GuestRuntime

T = TypeVar("T")


class SandboxStarter:
    """Starts bubblewrap for a runtime and limits, as many times as asked."""

    def __init__(self, runtime: GuestRuntime, limits: SessionLimits) -> None:
        self.runtime = runtime
        self.limits = limits
        self.uid = throwaway_user.choose_uid()
        self.seccomp_program = seccomp.build_filter()
        self._bubblewrap = bubblewrap.find_bubblewrap()
        self._mount_point = launcher.find_mount_point() if self.uid is not None else None
        # `--die-with-parent` follows the thread that starts a sandbox: this one stays.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sandbox-starter")

    async def start(
        self,
        command: Sequence[str],
        *,
        nested: bool,
        inherit: Sequence[int],
        stdout: int,
        stderr: int,
    ) -> subprocess.Popen[bytes]:
        """Start `command` inside; see `bubblewrap.arguments` for `nested`."""

        def launch() -> subprocess.Popen[bytes]:
            relocated: dict[Path, Path] = {}
            if self._mount_point is not None:
                folders = [source for source, _ in self.runtime.binds]
                relocated = launcher.relocations([*folders, bubblewrap.ETC], self._mount_point)
            filter_descriptor = None
            if not nested:
                filter_descriptor = os.memfd_create("seccomp", 0)
                os.write(filter_descriptor, self.seccomp_program)
                os.lseek(filter_descriptor, 0, os.SEEK_SET)
            options = bubblewrap.arguments(
                self.runtime,
                self.limits,
                relocated=relocated,
                nested=nested,
                seccomp_descriptor=filter_descriptor,
            )
            start = launcher.Launch(self._bubblewrap, options, command, self.uid, relocated)
            descriptors = [*inherit] if filter_descriptor is None else [*inherit, filter_descriptor]
            try:
                return start.start(inherit=descriptors, stdout=stdout, stderr=stderr)
            finally:
                if filter_descriptor is not None:
                    os.close(filter_descriptor)

        return await self.in_thread(launch)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()
