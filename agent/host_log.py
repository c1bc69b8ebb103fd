"""Lines of the log that the Functions host would not take.

The host takes what a worker logs while the invocation runs in which it is logged, and drops the
rest. But a function has returned when its answer begins to be streamed, and what goes on in the
background belongs to no invocation. What a worker prints the host takes at any time, as warning or
error where the line says so.
https://github.com/Azure/azure-functions-host (GrpcWorkerChannel.Log, WorkerProcess)
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final


class _Invocation:
    is_over = False


_of_this_task: Final[ContextVar[_Invocation | None]] = ContextVar("invocation", default=None)


@contextmanager
def invocation() -> Iterator[None]:
    """The block is all of an invocation; tasks that begin in it may outlive it."""
    current = _Invocation()
    before = _of_this_task.set(current)
    try:
        yield
    finally:
        current.is_over = True
        _of_this_task.reset(before)


class _Console(logging.Handler):
    def filter(self, record: logging.LogRecord) -> bool | logging.LogRecord:
        """Called by logging: only what the host drops."""
        current = _of_this_task.get()
        return (current is None or current.is_over) and super().filter(record)

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging."""
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except (OSError, ValueError):  # it is closed
            self.handleError(record)


def print_what_the_host_drops(logger: logging.Logger) -> None:
    """Let the logger print such lines, unless all lines are printed anyway."""
    console = (sys.stderr, sys.stdout)
    for handler in (*logging.getLogger().handlers, *logger.handlers):
        prints = isinstance(handler, logging.StreamHandler) and handler.stream in console
        if prints or isinstance(handler, _Console):
            return
    handler = _Console()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger.addHandler(handler)
