"""Asynchronous executions: started now, asked for later."""

import asyncio
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass

from local.session_pool.errors import ExecutionNotFoundError
from local.session_pool.pool.execution import ExecutionRequest, Outcome
from local.session_pool.pool.session import Session

# Finished ones are kept for callers that poll late, not for ever.
_MAX_KEPT = 1000


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
        while len(self._operations) > _MAX_KEPT:
            self._operations.popitem(last=False)
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

    async def close(self) -> None:
        """Give up what still runs."""
        tasks = [operation.task for operation in self._operations.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
