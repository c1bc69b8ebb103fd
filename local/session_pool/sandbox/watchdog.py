"""Holds sessions to their limits where no control group does it."""

import asyncio
import contextlib
import functools
import itertools
import logging
import os
from concurrent.futures import ThreadPoolExecutor

from local.session_pool.sandbox import usage
from local.session_pool.sandbox.kernel_process import MAX_BLIND_S, KernelProcess
from local.session_pool.sandbox.limits import SessionLimits
from local.session_pool.sandbox.shared_user import SharedUser

_log = logging.getLogger(__name__)
_INTERVAL_S = 0.05
# A session that executes nothing is looked at once in so many rounds.
_IDLE_ROUNDS = 20
# Looking must not cost more than this part of the time, however many sessions there are.
_MAX_SHARE = 0.2


class Watchdog:
    """Looks at every session again and again, and kills one that takes too much.

    It also ends one that it cannot look at: its limits would not hold.

    Args:
        limits: of each session.
        memory: whether it watches all memory; False where a control group does.
        processor: whether it shares the processor among sessions; as for memory.
        one_user: whether all sessions are one user for the machine.
    """

    def __init__(
        self, limits: SessionLimits, *, memory: bool, processor: bool, one_user: bool
    ) -> None:
        self._limits = limits
        self._memory = memory
        self._processor = processor
        self._shared_user = SharedUser(limits) if one_user else None
        self._watched: set[KernelProcess] = set()
        self._blind_since_s: dict[KernelProcess, float] = {}
        # Whose share of the processor is just being made smaller, which takes a while.
        self._sharing: set[KernelProcess] = set()
        self._sharing_thread = ThreadPoolExecutor(1, thread_name_prefix="sandbox-sharing")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sandbox-watchdog")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._look_regularly())

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._thread.shutdown()
        await asyncio.to_thread(self._sharing_thread.shutdown, cancel_futures=True)

    def watch(self, kernel: KernelProcess) -> None:
        """Look at this one too, until it has died."""
        self._watched.add(kernel)

    async def _look_regularly(self) -> None:
        loop = asyncio.get_running_loop()
        for round_number in itertools.count():
            self._watched = {kernel for kernel in self._watched if not kernel.died.is_set()}
            for kernel in self._blind_since_s.keys() - self._watched:
                del self._blind_since_s[kernel]
            if self._shared_user is not None:
                self._shared_user.forget_all_but({kernel.pids for kernel in self._watched})
            started_s = loop.time()
            look_at_idle = round_number % _IDLE_ROUNDS == 0
            for kernel in [*self._watched]:
                is_blind = kernel in self._blind_since_s
                if kernel.is_executing or look_at_idle or is_blind:
                    await self._look_at(kernel)
            spent_s = loop.time() - started_s
            await asyncio.sleep(max(_INTERVAL_S, spent_s / _MAX_SHARE))

    async def _look_at(self, kernel: KernelProcess) -> None:
        if kernel.died.is_set():
            return
        try:
            exceeds, pids = await self._exceeds(kernel)
        except Exception as error:
            now_s = asyncio.get_running_loop().time()
            since_s = self._blind_since_s.setdefault(kernel, now_s)
            if now_s - since_s > MAX_BLIND_S and not kernel.died.is_set():
                _log.error("a session is ended: what it takes cannot be seen: %s", error)
                why = error.strerror if isinstance(error, OSError) else type(error).__name__
                kernel.end(f"what it takes of this machine cannot be seen: {why}.")
            return
        self._blind_since_s.pop(kernel, None)
        if exceeds:
            # Not waited for: others have limits too.
            kernel.end()
        elif self._processor and kernel not in self._sharing:
            self._sharing.add(kernel)
            work = functools.partial(usage.share_processor, pids, kernel.pids)
            sharing = asyncio.get_running_loop().run_in_executor(self._sharing_thread, work)
            sharing.add_done_callback(lambda done: self._have_shared(kernel, done))

    def _have_shared(self, kernel: KernelProcess, done: asyncio.Future[None]) -> None:
        self._sharing.discard(kernel)
        if not done.cancelled() and done.exception() is not None:
            _log.warning("a session's share of the processor: %s", done.exception())

    async def _exceeds(self, kernel: KernelProcess) -> tuple[bool, list[int]]:
        """Return whether it takes too much, and its processes."""
        with contextlib.ExitStack() as opened:
            folders = {}
            for name, folder in kernel.writable_directories.items():
                # Copies: the kernel may be closed while the thread reads.
                folders[name] = os.dup(folder)
                opened.callback(os.close, folders[name])
            look = functools.partial(self._look, folders, kernel.pids, opened.pop_all())
        return await asyncio.get_running_loop().run_in_executor(self._thread, look)

    def _look(
        self, folders: dict[str, int], roots: tuple[int, int], opened: contextlib.ExitStack
    ) -> tuple[bool, list[int]]:
        with opened:
            pids = usage.processes_of(roots)
            return self._is_too_much(folders, roots, pids), pids

    def _is_too_much(
        self, folders: dict[str, int], roots: tuple[int, int], pids: list[int]
    ) -> bool:
        limits = self._limits
        if any(usage.files_count(folder) > limits.inodes for folder in folders.values()):
            return True
        if usage.terminals_count(folders["shm"]) > limits.terminals:
            return True
        if usage.locks_count(pids) > limits.locks:
            return True
        if self._shared_user is not None and self._shared_user.takes_too_much(roots, pids):
            return True

        def is_too_much_with(waiting: int) -> bool:
            if not self._memory:
                # What control groups count of these depends on their version and on Linux's.
                return waiting + usage.kept_bytes(pids) > limits.memory_bytes
            room = limits.memory_bytes - usage.files_bytes([*folders.values()]) - waiting
            return usage.memory_bytes(pids, above=room) > room

        at_first, beyond = usage.sockets_bytes(roots[0])
        if not is_too_much_with(at_first + beyond):
            return False
        return is_too_much_with(at_first) or is_too_much_with(
            at_first + usage.tcp_bytes(roots[0], at_first, beyond)
        )
