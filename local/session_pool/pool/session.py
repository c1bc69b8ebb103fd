"""One session: an identifier's kernel, its queue and its files."""

import asyncio
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from local.session_pool.errors import SessionNotFoundError, StorageFullError
from local.session_pool.pool.execution import ExecutionRequest, Outcome
from local.session_pool.sandbox.kernel_process import (
    KernelDiedError,
    KernelProcess,
    OutputsNotKeptError,
)
from local.session_pool.sandbox.replies import Reply

# An interrupted cell gets this long to give up before its kernel is killed.
GRACE_S = 2.0

TIMED_OUT = "Request timed out waiting for code execution to complete"
RESTARTED = "Kernel restarted: it ran out of memory, or its process ended."
LOST = (
    "Kernel restarted: it had ended since the last execution; variables are gone, files are kept."
)

NewKernel = Callable[["Session"], Awaitable[KernelProcess]]
KeepFiles = Callable[["Session"], Awaitable[None]]


class Session:
    """A live session.

    Attributes:
        identifier: the caller's name for it.
        guid: the service's name for what holds it: another guid means another, empty session.
        created_at: when it was allocated.
        last_accessed_at: when it was last called.
        left_out: files that the last restart could not copy.
    """

    def __init__(
        self,
        identifier: str,
        kernel: KernelProcess,
        *,
        now: datetime,
        cooldown_s: float,
        new_kernel: NewKernel,
        queued_status: str,
    ) -> None:
        self.identifier = identifier
        self.guid = str(uuid.uuid4())
        self.created_at = now
        self.last_accessed_at = now
        self.kernel = kernel
        self.running = 0
        self._cooldown = timedelta(seconds=cooldown_s)
        self._new_kernel = new_kernel
        self._queued_status = queued_status
        self._turn = asyncio.Lock()
        self._restarting: asyncio.Task[None] | None = None
        self._ended = False
        self.left_out: list[str] = []
        self._lost = ""
        self._on_end: list[Callable[[], None]] = []
        # Grows with each execution that timed out: those queued behind it are aborted.
        self._aborts = 0

    def touch(self, now: datetime) -> None:
        """Any request starts the cooldown anew."""
        self.last_accessed_at = now

    def when_ended(self, callback: Callable[[], None]) -> None:
        """Call back once, when it ends."""
        self._on_end.append(callback)

    @property
    def expire_at(self) -> datetime:
        """The time at which it ends if nobody calls."""
        return self.last_accessed_at + self._cooldown

    def is_expired(self, now: datetime) -> bool:
        """Whether its cooldown is over; never while code runs."""
        return self.running == 0 and now >= self.expire_at

    async def execute(self, request: ExecutionRequest) -> Outcome:
        """Run code after everything that came before it.

        The time a request waits for its turn counts, as it does for the service's caller.
        """
        deadline_s = time.monotonic() + request.timeout_s
        aborts = self._aborts
        self.running += 1
        try:
            try:
                async with asyncio.timeout(request.timeout_s):
                    await self._turn.acquire()
            except TimeoutError:
                return Outcome(False, "", TIMED_OUT, round(request.timeout_s * 1000))
            try:
                if self._aborts != aborts:
                    return Outcome(False, "", self._queued_status, 0)
                return await self._run(request, deadline_s)
            finally:
                self._turn.release()
        finally:
            self.running -= 1

    async def _run(self, request: ExecutionRequest, deadline_s: float) -> Outcome:
        kernel = await self._usable_kernel()
        lost, self._lost = self._lost, ""
        left_out, self.left_out = _named(self.left_out), []
        started_s = time.monotonic()
        # Code cannot guess it, and could only put its own outputs in another order.
        marker = f"\0{secrets.token_hex(8)}\0" if request.jupyter_result else ""
        kernel.stdout.begin(request.output_max_chars, marker)
        kernel.stderr.begin(request.output_max_chars, marker)
        execution = asyncio.ensure_future(
            kernel.execute(request.code, request.variables, marker=marker)
        )
        try:
            reply, timed_out = await _reply_before(kernel, execution, deadline_s)
        finally:
            execution.cancel()  # if it is not done: nobody waits for it any more
        duration_ms = round((time.monotonic() - started_s) * 1000)
        if self._ended:
            raise SessionNotFoundError(self.identifier)
        if timed_out:
            self._aborts += 1
        stdout = kernel.stdout.take(request.output_max_chars)
        stderr = kernel.stderr.take(request.output_max_chars)
        words = TIMED_OUT if timed_out else _restarted(kernel)
        if reply is None:
            # The answer does not wait for it; the next execution does.
            self._restarting = asyncio.create_task(self._restart())
        elif not timed_out:
            words = reply.frame.traceback
        succeeded = reply is not None and not timed_out and reply.frame.status == "ok"
        text = _joined(_joined(_joined(lost, left_out), stderr.text), words)
        return Outcome(succeeded, stdout.text, text, duration_ms, reply, (stdout, stderr))

    async def _usable_kernel(self) -> KernelProcess:
        """Return a kernel that is alive.

        Raises:
            AllocationError: it was lost, and another did not start.
        """
        if self._restarting is not None and _has_failed(self._restarting):
            # What stood in the way then may be over.
            self._restarting = asyncio.create_task(self._restart())
        elif self.kernel.died.is_set() and self._restarting is None:  # between two executions
            self._lost = f"{LOST} {self.kernel.end_reason}".strip()
            self._restarting = asyncio.create_task(self._restart())
        if self._restarting is not None:
            try:
                await asyncio.shield(self._restarting)
            finally:
                self._restarting = None
        if self._ended:
            raise SessionNotFoundError(self.identifier)
        return self.kernel

    async def _restart(self) -> None:
        """Replace the kernel; files stay, variables are gone."""
        old = self.kernel
        await old.kill()
        self.kernel = await self._new_kernel(self)
        old.close()

    async def end(self, keep_files: KeepFiles | None = None) -> None:
        """Kill everything; what runs answers that there is no such session.

        Args:
            keep_files: is given the session's files before they are gone.
        """
        self._ended = True
        for callback in self._on_end:
            callback()
        if self._restarting is not None:
            await asyncio.gather(self._restarting, return_exceptions=True)
        await self.kernel.kill()
        if keep_files is not None:
            await keep_files(self)
        self.kernel.close()


async def _reply_before(
    kernel: KernelProcess, execution: asyncio.Future[Reply], deadline_s: float
) -> tuple[Reply | None, bool]:
    """Wait for the reply; interrupt at the deadline, and give up when that does not help.

    Returns:
        The reply, None if the kernel is lost; and whether the time was up.
    """
    timed_out = False
    await asyncio.wait([execution], timeout=max(0.0, deadline_s - time.monotonic()))
    if not execution.done():
        timed_out = True
        kernel.interrupt()
        await asyncio.wait([execution], timeout=GRACE_S)
    if not execution.done():
        return None, timed_out
    try:
        return execution.result(), timed_out
    except KernelDiedError:
        return None, timed_out
    except OutputsNotKeptError as error:
        raise StorageFullError(
            f"This machine cannot store the outputs of the execution: {error}."
        ) from error


def _has_failed(task: asyncio.Task[None]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _restarted(kernel: KernelProcess) -> str:
    return f"Kernel restarted: {kernel.end_reason}" if kernel.end_reason else RESTARTED


def _named(left_out: list[str]) -> str:
    if not left_out:
        return ""
    names = ", ".join(ascii(name) for name in left_out[:10])
    return f"[the restart could not keep {len(left_out)} files of /mnt/data: {names[:1000]}]"


def _joined(stderr: str, words: str) -> str:
    if stderr and words and not stderr.endswith("\n"):
        return f"{stderr}\n{words}"
    return stderr + words
