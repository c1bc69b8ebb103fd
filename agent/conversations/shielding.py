"""Writing that is not left half known when its caller is cancelled."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine


async def shielded[T](work: Coroutine[object, object, T] | asyncio.Future[T]) -> T:
    """Await `work`; a cancellation is passed on only after `work` has ended.

    Otherwise a hold could be given up while a thread still writes what it protects.
    """
    task = asyncio.ensure_future(work)
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
