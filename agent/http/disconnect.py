"""Cancels the work for a caller that disconnects."""

import asyncio
from collections.abc import Coroutine

from starlette.types import Receive


class DisconnectedError(Exception):
    """The caller is gone: nobody reads an answer."""


async def cancel_on_disconnect[T](receive: Receive, work: Coroutine[None, None, T]) -> T:
    """The result of `work`, which is cancelled, and has ended, when the caller disconnects.

    The Functions worker cancels neither a handler nor a response that waits for its turn to send:
    both have to ask.

    Args:
        receive: of the request, whose body must have been read.
        work: what is done for the caller.

    Raises:
        DisconnectedError: the caller disconnected first.
    """
    task = asyncio.current_task()
    assert task is not None, "a request has a task"  # noqa: S101 - for mypy: only a bug of ours calls this outside a task, no caller can
    cancelled_before, is_gone = task.cancelling(), False

    async def watch() -> None:
        nonlocal is_gone
        while (await receive())["type"] != "http.disconnect":
            pass
        is_gone = True
        task.cancel()

    # Eager: it looks here, where it would wait for the loop's next turn.
    watching = asyncio.eager_task_factory(asyncio.get_running_loop(), watch())
    try:
        return await work
    except asyncio.CancelledError:
        # As asyncio.timeout tells its own cancellation from another one.
        if is_gone and task.cancelling() <= cancelled_before + 1:
            raise DisconnectedError from None
        raise
    finally:
        if is_gone:
            # Also where the work ended without it: it would hit whatever is awaited next.
            task.uncancel()
        watching.cancel()
        await asyncio.wait({watching})
