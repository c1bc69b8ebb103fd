"""The pool: which identifier holds which session, how many there may be, when they end."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from typing import Any

from local.session_pool.errors import AllocationError, PoolFullError, SessionNotFoundError
from local.session_pool.options import PoolOptions
from local.session_pool.pool.clock import Clock
from local.session_pool.pool.session import KeepFiles, Session
from local.session_pool.sandbox.kernel_process import KernelProcess, KernelStartError
from local.session_pool.sandbox.kernels import KernelSource

_log = logging.getLogger(__name__)
_SWEEP_INTERVAL_S = 1.0
_REFILL_DELAY_S = 0.01

CopyFiles = Callable[[KernelProcess, KernelProcess], Awaitable[list[str]]]


class Pool:
    """Live sessions and the kernels that wait to become some."""

    def __init__(
        self,
        options: PoolOptions,
        clock: Clock,
        source: KernelSource,
        copy_files: CopyFiles,
        keep_files: KeepFiles | None,
        before_allocation: Callable[[], Awaitable[None]],
    ) -> None:
        self._options = options
        self._clock = clock
        self._source = source
        self._copy_files = copy_files
        self._keep_files = keep_files
        self._before_allocation = before_allocation
        self._sessions: dict[str, Session] = {}
        self._allocating: dict[str, asyncio.Future[Session]] = {}
        self._ready: deque[KernelProcess] = deque()
        self._refill_needed = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Fill the ready kernels and keep them filled."""
        self._refill_needed.set()
        self._keepers = [
            asyncio.create_task(self._refill()),
            asyncio.create_task(self._sweep_regularly()),
        ]

    async def close(self) -> None:
        """End every session and every ready kernel."""
        for task in self._keepers:
            task.cancel()
        pending: list[asyncio.Future[Any]] = [
            *self._keepers,
            *self._tasks,
            *self._allocating.values(),
        ]
        await asyncio.gather(*pending, return_exceptions=True)
        kernels = [*self._ready]
        self._ready.clear()
        ends = [session.end(self._keep_files) for session in self._sessions.values()]
        self._sessions.clear()
        await asyncio.gather(*ends, *(_end(kernel) for kernel in kernels))

    async def allocate(self, identifier: str) -> Session:
        """Return the identifier's session; the first call makes it.

        Raises:
            PoolFullError: every session is held.
            AllocationError: a kernel did not start.
        """
        session = self._alive(identifier)
        if session is None:
            pending = self._allocating.get(identifier)
            if pending is None:
                self._sweep()
                if len(self._sessions) + len(self._allocating) >= self._options.max_sessions:
                    raise PoolFullError(identifier, self._options.name)
                pending = asyncio.ensure_future(self._allocate(identifier))
                self._allocating[identifier] = pending
                pending.add_done_callback(lambda _: self._allocating.pop(identifier, None))
            session = await asyncio.shield(pending)
        session.touch(self._clock.now())
        return session

    def now(self) -> datetime:
        """The time by the pool's clock."""
        return self._clock.now()

    def get(self, identifier: str) -> Session:
        """Return the live session; does not make one.

        Raises:
            SessionNotFoundError: there is none.
        """
        session = self._alive(identifier)
        if session is None:
            raise SessionNotFoundError(identifier)
        return session

    def sessions(self) -> list[Session]:
        """Live sessions, oldest first."""
        self._sweep()
        return list(self._sessions.values())

    async def delete(self, identifier: str) -> None:
        """End the session now; its identifier is free for another.

        Raises:
            SessionNotFoundError: there is none.
        """
        session = self.get(identifier)
        del self._sessions[identifier]
        await session.end(self._keep_files)

    def lose(self, identifier: str | None = None) -> None:
        """End one session, or all, as if the service had lost them."""
        for session in [*self._sessions.values()]:
            if identifier in (None, session.identifier):
                self._end_later(session)

    async def new_kernel(self) -> KernelProcess:
        """Take a ready kernel, or start one.

        Raises:
            KernelStartError: see `KernelSource.spawn`.
        """
        while self._ready:
            kernel = self._ready.popleft()
            # The caller's request comes first: starting another takes a processor for a while.
            asyncio.get_running_loop().call_later(_REFILL_DELAY_S, self._refill_needed.set)
            if not kernel.died.is_set():
                return kernel
            kernel.close()
        return await self._source.spawn()

    async def _allocate(self, identifier: str) -> Session:
        await self._before_allocation()
        try:
            kernel = await self.new_kernel()
        except KernelStartError as error:
            _log.error("a session did not start: %s", error)
            raise AllocationError(identifier, self._options.name) from error
        session = Session(
            identifier,
            kernel,
            now=self._clock.now(),
            cooldown_s=self._options.cooldown_s,
            new_kernel=self._replacement,
            queued_status=self._options.queued_status,
        )
        self._sessions[identifier] = session
        return session

    async def _replacement(self, session: Session) -> KernelProcess:
        try:
            kernel = await self.new_kernel()
        except KernelStartError as error:
            _log.error("a kernel did not start again: %s", error)
            raise AllocationError(session.identifier, self._options.name) from error
        try:
            session.left_out = await self._copy_files(session.kernel, kernel)
        except BaseException:
            await _end(kernel)
            raise
        return kernel

    def _alive(self, identifier: str) -> Session | None:
        session = self._sessions.get(identifier)
        if session is not None and session.is_expired(self._clock.now()):
            self._end_later(session)
            return None
        return session

    def _sweep(self) -> None:
        now = self._clock.now()
        for session in [*self._sessions.values()]:
            if session.is_expired(now):
                self._end_later(session)

    def _end_later(self, session: Session) -> None:
        del self._sessions[session.identifier]
        self._run(session.end(self._keep_files))

    async def _sweep_regularly(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL_S)
            self._sweep()

    async def _refill(self) -> None:
        while True:
            await self._refill_needed.wait()
            self._refill_needed.clear()
            while len(self._ready) < self._options.ready_sessions:
                try:
                    self._ready.append(await self._source.spawn())
                except KernelStartError as error:
                    _log.error("a ready session did not start: %s", error)
                    await asyncio.sleep(1)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _end(kernel: KernelProcess) -> None:
    with contextlib.suppress(KernelStartError):
        await kernel.kill()
    kernel.close()
