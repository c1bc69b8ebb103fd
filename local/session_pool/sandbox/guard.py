"""Kernels held to their limits: by a control group where one can be made, else by the watchdog."""

import asyncio
import logging
import os
from concurrent.futures import ThreadPoolExecutor

from local.session_pool.sandbox.cgroups import ControlGroups, SessionGroup
from local.session_pool.sandbox.kernel_process import KernelProcess, KernelStartError
from local.session_pool.sandbox.kernels import KernelSource
from local.session_pool.sandbox.limits import SessionLimits
from local.session_pool.sandbox.watchdog import Watchdog

_log = logging.getLogger(__name__)


class GuardedKernels:
    """A `KernelSource` whose kernels cannot take more than their limits.

    Args:
        source: starts them.
        limits: of each.
        control_groups: False does without, as where none can be made.
    """

    def __init__(
        self, source: KernelSource, limits: SessionLimits, *, control_groups: bool = True
    ) -> None:
        self._source = source
        self._limits = limits
        self._groups = ControlGroups.find() if control_groups else None
        self._watchdog = Watchdog(
            limits,
            memory=self._groups is None,
            processor=self._groups is None or not self._groups.share_processor,
            one_user=os.geteuid() != 0,
        )
        # Moving a process between groups may wait for the whole kernel: never on the event loop.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="control-groups")
        held_by = "watchdog" if self._groups is None else f"cgroup v{self._groups.version}"
        self.name = f"{source.name}, memory held by {held_by}"

    async def start(self) -> None:
        """See `KernelSource`."""
        self._watchdog.start()

    async def spawn(self) -> KernelProcess:
        """See `KernelSource`."""
        try:
            kernel = await self._source.spawn()
        except OSError as error:  # this machine has too little of something, at this moment
            raise KernelStartError(f"no session can be started: {error}") from error
        if self._groups is not None:
            loop = asyncio.get_running_loop()
            try:
                group = await loop.run_in_executor(
                    self._threads, self._hold, self._groups, kernel.pids
                )
            except BaseException as error:
                await kernel.kill()
                kernel.close()
                if isinstance(error, OSError):
                    raise KernelStartError(f"no control group: {error}") from error
                raise
            kernel.when_closed(lambda: self._remove(group))
        self._watchdog.watch(kernel)
        return kernel

    async def close(self) -> None:
        """See `KernelSource`; closes what it guards as well."""
        await self._watchdog.close()
        await self._source.close()
        await asyncio.to_thread(self._threads.shutdown)
        if self._groups is not None:
            await asyncio.to_thread(self._groups.close)

    def _hold(self, groups: ControlGroups, pids: tuple[int, int]) -> SessionGroup:
        group = groups.make(self._limits)
        try:
            group.add(pids)
        except OSError:
            group.remove()
            raise
        return group

    def _remove(self, group: SessionGroup) -> None:
        self._threads.submit(group.remove)
