"""Failures on demand, for tests of what calls the pool."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local.session_pool.errors import ForbiddenError, PoolError, PoolFullError
from local.session_pool.http.wire.jupyter import JupyterFormat
from local.session_pool.pool.clock import Clock


class DroppedConnectionError(Exception):
    """The connection is to end before the response does."""


class _StatusError(PoolError):
    def __init__(self, status: int) -> None:
        super().__init__("A failure that was asked for.")
        self.status = status
        self.code = "InternalServerError" if status < 502 else "ServiceUnavailable"


@dataclass
class Faults:
    """Faults for the next requests; each method adds to those already set.

    Attributes:
        retry_after_s: header of a 429 that was asked for; None leaves it out, as the service does.
        jupyter_format: how `returnJupyterFormatExecutionResult` is answered: in one of the shapes
            of `JupyterFormat`, `ignored` (the plain answer), or `refused` (400).
    """

    _clock: Clock
    _lose: Callable[[str | None], None]
    retry_after_s: int | None = None
    jupyter_format: JupyterFormat = "list"
    _next: deque[Callable[[], Exception]] = field(default_factory=deque)
    _forbidden_until: Any = None
    _delay_s: float = 0.0
    _allocation_s: float = 0.0
    _has_role: bool = True
    _hurry: asyncio.Event = field(default_factory=asyncio.Event)

    def forbid_for(self, seconds: float) -> None:
        """403 for so long by the pool's clock, as while a role assignment takes effect."""
        self._forbidden_until = self._clock.now().timestamp() + seconds

    def revoke_role(self) -> None:
        """403 until `grant_role`."""
        self._has_role = False

    def grant_role(self) -> None:
        """Undo `revoke_role` and `forbid_for`."""
        self._has_role, self._forbidden_until = True, None

    def throttle(self, times: int = 1, *, retry_after_s: int | None = None) -> None:
        """429 to the next `times` requests."""
        self.retry_after_s = retry_after_s
        self._next.extend([lambda: PoolFullError("any", "pool")] * times)

    def fail(self, times: int = 1, *, status: int = 503) -> None:
        """A 5xx to the next `times` requests."""
        self._next.extend([lambda: _StatusError(status)] * times)

    def drop_connection(self, times: int = 1) -> None:
        """End the connection in the middle of the next `times` responses."""
        self._next.extend([DroppedConnectionError] * times)

    def slow_down(self, seconds: float) -> None:
        """Wait so long before every request; 0 ends it, also for those that wait."""
        self._delay_s = seconds
        self._end_waits()

    def slow_allocation(self, seconds: float) -> None:
        """Take so long to start each new session; 0 ends it, also for those that start."""
        self._allocation_s = seconds
        self._end_waits()

    def lose_sessions(self, identifier: str | None = None) -> None:
        """End one session, or all: their identifiers get new, empty ones."""
        self._lose(identifier)

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._next.clear()
        self.jupyter_format = "list"
        self.slow_down(0)
        self.slow_allocation(0)
        self.grant_role()

    async def before_request(self) -> None:
        """Raise or wait, as asked.

        Raises:
            PoolError: the error to answer.
            DroppedConnectionError: see there.
        """
        await self._wait(self._delay_s)
        if self._next:
            raise self._next.popleft()()
        until = self._forbidden_until
        if not self._has_role or (until is not None and self._clock.now().timestamp() < until):
            raise ForbiddenError

    async def before_allocation(self) -> None:
        """Wait, as asked."""
        await self._wait(self._allocation_s)

    async def _wait(self, seconds: float) -> None:
        if seconds:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), seconds)

    def _end_waits(self) -> None:
        self._hurry.set()
        self._hurry = asyncio.Event()
