"""Asynchronous executions: started now, asked for later."""

import asyncio
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass

from local.session_pool.errors import ExecutionNotFoundError
from local.session_pool.pool.execution import ExecutionRequest, Outcome
from local.session_pool.pool.session import Session

# Finished ones wait for callers that poll late: so many, so long, so much of memory and of files.
_MAX_FINISHED = 1000
_MAX_AGE_S = 3600
_MAX_BYTES = 128 << 20
# What an output counts at least: a long one is an open file.
_OUTPUT_BYTES = 256 << 10


@dataclass(frozen=True)
class Operation:
    """One asynchronous execution.

    Attributes:
        operation_id: by which it is polled.
        session_guid: of the session that it runs in.
        request: what was asked.
        task: what it comes to.
    """

    operation_id: str
    session_guid: str
    request: ExecutionRequest
    task: asyncio.Task[Outcome]
    started_s: float


class Operations:
    """The operations of a pool."""

    def __init__(self) -> None:
        self._operations: OrderedDict[str, Operation] = OrderedDict()

    def start(
        self, session: Session, request: ExecutionRequest, operation_id: str | None
    ) -> Operation:
        """Begin an execution; it joins the session's queue."""
        operation_id = operation_id or str(uuid.uuid4())
        task = asyncio.create_task(session.execute(request))
        operation = Operation(operation_id, session.guid, request, task, time.monotonic())
        self._operations[operation_id] = operation
        session.when_ended(lambda: self._forget(operation))
        task.add_done_callback(lambda _: self._forget_old())
        return operation

    def get(self, session: Session, operation_id: str) -> Operation:
        """Return an operation of this session.

        Raises:
            ExecutionNotFoundError: none was started under this id, here.
        """
        operation = self._operations.get(operation_id)
        if operation is None or operation.session_guid != session.guid:
            raise ExecutionNotFoundError(operation_id)
        return operation

    def _forget(self, operation: Operation) -> None:
        if self._operations.get(operation.operation_id) is operation:
            del self._operations[operation.operation_id]

    def _forget_old(self) -> None:
        finished = [each for each in self._operations.values() if each.task.done()]
        number, total_bytes = 0, 0
        for operation in reversed(finished):
            number, total_bytes = number + 1, total_bytes + _size_bytes(operation.task)
            age_s = time.monotonic() - operation.started_s
            if number > _MAX_FINISHED or total_bytes > _MAX_BYTES or age_s > _MAX_AGE_S:
                self._forget(operation)

    async def close(self) -> None:
        """Give up what still runs."""
        tasks = [operation.task for operation in self._operations.values()]
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
