"""Work that begins at once, and writing that is not left half known when its caller leaves."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any


def begun[T](work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task that has begun already, and has ended where it never had to wait.

    Others wait for the loop's next turn first, and whoever awaits them for one more.
    """
    return asyncio.eager_task_factory(asyncio.get_running_loop(), work)


async def shielded[T](work: Coroutine[object, object, T] | asyncio.Future[T]) -> T:
    """Await `work`; a cancellation is passed on only after `work` has ended.

    Otherwise a hold could be given up while a thread still writes what it protects.
    """
    task = begun(work) if asyncio.iscoroutine(work) else work
    if task.done():
        return task.result()
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # looked at: the caller wants the cancellation
        raise


async def in_thread[T](work: Callable[[], T]) -> T:
    """Call a blocking function in a thread, to its end."""
    # Without a task and a context of its own, as asyncio.to_thread has them: it needs neither.
    return await shielded(asyncio.get_running_loop().run_in_executor(None, work))
