"""Work that begins at once, and writing that is not left half known when its caller leaves."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

_threads: Final = ThreadPoolExecutor(thread_name_prefix="store")


def begun[T](work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task that has begun already, and has ended where it never had to wait.

    Others wait for the loop's next turn first, and whoever awaits them for one more.
    """
    return asyncio.eager_task_factory(asyncio.get_running_loop(), work)


class Call[T](asyncio.Task[T]):
    """A task that has begun already, and may outlive whoever waits for it.

    What is `shielded` in it needs no task besides: it is left, not cancelled. So no timeout may
    stand around that, which would cancel the task itself.
    """

    _shields = 0
    _is_left = False
    _waiter: asyncio.Future[None] | None = None

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        super().__init__(self._run(work), loop=asyncio.get_running_loop(), eager_start=True)

    async def wait(self, deadline: float) -> None:
        """Wait until it has ended or it is that time of the loop; one caller at a time."""
        if self.done():
            return
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_at(deadline, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()

    def leave(self) -> None:
        """Cancel it, but what is shielded in it only when that has ended."""
        if self._shields:
            self._is_left = True
        else:
            self.cancel()

    async def shield[U](self, work: Coroutine[object, object, U] | asyncio.Future[U]) -> U:
        """Await `work` in it, to its end."""
        self._shields += 1
        try:
            return await work
        finally:
            self._shields -= 1
            if self._is_left and not self._shields:
                self._is_left = False
                raise asyncio.CancelledError

    async def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await work
        finally:
            # A callback of the ended task would come, and wake, a turn of the loop later.
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def shielded[T](work: Coroutine[object, object, T] | asyncio.Future[T]) -> T:
    """Await `work`; a cancellation is passed on only after `work` has ended.

    Otherwise a hold could be given up while a thread still writes what it protects.
    """
    call = asyncio.current_task()
    if isinstance(call, Call):
        return await call.shield(work)
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
    """Call a blocking function in a thread, to its end, whoever cancels what waits for it."""
    # asyncio's own way there and back takes half as much again: it copies results and cancellations
    # between two futures, and here neither is needed.
    loop = asyncio.get_running_loop()
    done = _threads.submit(work)
    cancelled: asyncio.CancelledError | None = None
    while not done.done():
        ended = loop.create_future()
        done.add_done_callback(partial(_tell, loop, ended))
        try:
            await ended
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return done.result()


def _tell(loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None], _: object) -> None:
    loop.call_soon_threadsafe(_set, ended)


def _set(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
