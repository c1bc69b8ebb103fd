"""Asynchronous executions: started now, asked for later."""

import asyncio
import dataclasses
import uuid
from dataclasses import dataclass
from datetime import datetime

from local.session_pool.errors import ExecutionNotFoundError, TooManyExecutionsError
from local.session_pool.pool.clock import Clock
from local.session_pool.pool.execution import ExecutionRequest, Outcome
from local.session_pool.pool.session import Session

# Finished ones wait for callers that poll late: so many, so long, so much of memory and of files.
_MAX_FINISHED = 1000
_MAX_AGE_S = 3600
_MAX_BYTES = 128 << 20
# So many may run or wait, each with its code, for callers who have all gone away again.
_MAX_UNFINISHED_OF_SESSION = 100
_MAX_UNFINISHED = 1000
_MAX_UNFINISHED_CHARS = 32 << 20
# What an output counts at least: a long one is an open file.
_OUTPUT_BYTES = 256 << 10


@dataclass(frozen=True, eq=False)
class Operation:
    """One asynchronous execution.

    Attributes:
        operation_id: by which it is polled.
        session_guid: of the session that it runs in.
        request: what was asked, without the code.
        task: what it comes to.
        started_at: when it was asked for.
    """

    operation_id: str
    session_guid: str
    request: ExecutionRequest
    task: asyncio.Task[Outcome]
    started_at: datetime

    @property
    def key(self) -> tuple[str, str]:
        """What it is found by."""
        return self.session_guid, self.operation_id


class Operations:
    """The operations of a pool, by session and id: callers choose ids, and may choose the same."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._operations: dict[tuple[str, str], Operation] = {}
        # Each that has not ended, with the length of its code.
        self._unfinished: dict[Operation, int] = {}
        # The finished ones as they finished, and how many bytes each of them holds.
        self._finished: dict[Operation, int] = {}
        self._sessions: set[str] = set()

    def start(
        self, session: Session, request: ExecutionRequest, operation_id: str | None
    ) -> Operation:
        """Begin an execution; it joins the session's queue.

        Raises:
            TooManyExecutionsError: too many have not ended yet.
        """
        self._check_room(session.guid, len(request.code))
        operation_id = operation_id or str(uuid.uuid4())
        task = asyncio.create_task(session.execute(request))
        described = dataclasses.replace(request, code="")
        operation = Operation(operation_id, session.guid, described, task, self._clock.now())
        replaced = self._operations.get(operation.key)
        if replaced is not None:
            self._forget(replaced)
        self._operations[operation.key] = operation
        self._unfinished[operation] = len(request.code)
        task.add_done_callback(lambda _: self._has_finished(operation))
        if session.guid not in self._sessions:
            self._sessions.add(session.guid)
            # Once for each session, and not for each operation: it would hold all their results.
            session.when_ended(lambda: self._forget_session(session.guid))
        return operation

    def _check_room(self, guid: str, chars: int) -> None:
        of_session = sum(operation.session_guid == guid for operation in self._unfinished)
        if of_session >= _MAX_UNFINISHED_OF_SESSION:
            raise TooManyExecutionsError(f"The session has {_MAX_UNFINISHED_OF_SESSION}")
        if len(self._unfinished) >= _MAX_UNFINISHED:
            raise TooManyExecutionsError(f"The pool has {_MAX_UNFINISHED}")
        if sum(self._unfinished.values()) + chars > _MAX_UNFINISHED_CHARS:
            held = f"The pool has {_MAX_UNFINISHED_CHARS} characters of code in"
            raise TooManyExecutionsError(held)

    def get(self, session: Session, operation_id: str) -> Operation:
        """Return an operation of the session.

        Raises:
            ExecutionNotFoundError: none was started under this id, here.
        """
        self._forget_old()
        operation = self._operations.get((session.guid, operation_id))
        if operation is None:
            raise ExecutionNotFoundError(operation_id)
        return operation

    def _has_finished(self, operation: Operation) -> None:
        del self._unfinished[operation]
        if not operation.task.cancelled():
            operation.task.exception()  # that of a session that ended is nobody's any more
        if self._operations.get(operation.key) is operation:
            self._finished[operation] = _size_bytes(operation.task)
            self._forget_old()

    def _forget(self, operation: Operation) -> None:
        del self._operations[operation.key]
        self._finished.pop(operation, None)

    def _forget_session(self, guid: str) -> None:
        self._sessions.discard(guid)
        for operation in [each for each in self._operations.values() if each.session_guid == guid]:
            self._forget(operation)

    def _forget_old(self) -> None:
        now, total_bytes = self._clock.now(), sum(self._finished.values())
        for operation, size_bytes in [*self._finished.items()]:
            is_old = (now - operation.started_at).total_seconds() > _MAX_AGE_S
            if not (is_old or len(self._finished) > _MAX_FINISHED or total_bytes > _MAX_BYTES):
                return
            self._forget(operation)
            total_bytes -= size_bytes

    async def close(self) -> None:
        """Give up what still runs."""
        tasks = [operation.task for operation in self._unfinished]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _size_bytes(task: asyncio.Task[Outcome]) -> int:
    """Return what a finished execution holds; one that failed holds nothing."""
    if task.cancelled() or task.exception() is not None:
        return 0
    outcome = task.result()
    blobs = outcome.reply.blobs if outcome.reply is not None else ()
    text = 4 * (len(outcome.stdout) + len(outcome.stderr))
    return text + sum(max(blob.size_bytes, _OUTPUT_BYTES) for blob in blobs)
