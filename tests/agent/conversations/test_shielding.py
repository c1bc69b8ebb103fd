"""What writes is not left half done, whoever leaves; what waits is left at once."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from functools import partial

import pytest

from agent.conversations.shielding import Call, begun, in_thread, shielded

pytestmark = pytest.mark.asyncio(loop_scope="session")

type Start = Callable[
    [Coroutine[object, object, str]], tuple[asyncio.Task[str], Callable[[], object]]
]


def _as_a_task(
    work: Coroutine[object, object, str],
) -> tuple[asyncio.Task[str], Callable[[], object]]:
    task = begun(work)
    return task, task.cancel


def _as_a_call(
    work: Coroutine[object, object, str],
) -> tuple[asyncio.Task[str], Callable[[], object]]:
    call = Call(work)
    return call, call.leave


# A caller cancels its own task; what waits for a call leaves it.
either_way = pytest.mark.parametrize("start", [_as_a_task, _as_a_call])


async def _settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Work:
    """Writes in two steps, as a store does that gives back what it held."""

    def __init__(self, error: Exception | None = None) -> None:
        self.may_write = asyncio.Event()
        self.steps: list[str] = []
        self._error = error

    async def _write(self, step: str) -> None:
        await self.may_write.wait()
        self.steps.append(step)
        if self._error:
            raise self._error

    async def __call__(self) -> str:
        try:
            await shielded(self._write("written"))
            self.steps.append("went on")
        finally:
            self._error = None
            await shielded(self._write("given back"))
            await shielded(self._write("told"))
        return "done"


@either_way
async def test_what_is_written_is_written_to_its_end_before_a_cancellation(start: Start) -> None:
    work = Work()
    task, leave = start(work())
    leave()
    await _settled()
    assert not task.done()
    work.may_write.set()
    await asyncio.wait({task})
    assert task.cancelled()
    assert work.steps == ["written", "given back", "told"]


@either_way
async def test_a_cancellation_hides_that_the_write_failed(start: Start) -> None:
    work = Work(ValueError("disk"))
    task, leave = start(work())
    leave()
    work.may_write.set()
    await asyncio.wait({task})
    assert task.cancelled()
    assert work.steps == ["written", "given back", "told"]


@either_way
async def test_a_write_that_nobody_leaves_gives_its_result_and_its_error(start: Start) -> None:
    work, failing = Work(), Work(ValueError("disk"))
    for each in (work, failing):
        each.may_write.set()
    assert await start(work())[0] == "done"
    with pytest.raises(ValueError, match="disk"):
        await start(failing())[0]


def _as_a_cancelled_call(
    work: Coroutine[object, object, str],
) -> tuple[asyncio.Task[str], Callable[[], object]]:
    call = Call(work)
    return call, call.cancel


@pytest.mark.parametrize("start", [_as_a_task, _as_a_call, _as_a_cancelled_call])
async def test_a_thread_is_waited_for_however_often_it_is_left(start: Start) -> None:
    may_end = threading.Event()

    async def write() -> str:
        await in_thread(partial(may_end.wait, 10))
        return "done"

    task, leave = start(write())
    for _ in range(2):
        leave()
        await _settled()
        assert not task.done()
    may_end.set()
    await asyncio.wait({task})
    assert task.cancelled()


@either_way
async def test_what_is_not_shielded_is_cancelled_at_once(start: Start) -> None:
    async def read() -> str:
        await asyncio.Event().wait()
        return "never"

    task, leave = start(read())
    leave()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_work_that_never_waits_has_ended_when_its_call_is_made() -> None:
    async def work() -> str:
        return await shielded(_told())

    async def _told() -> str:
        return "done"

    call = Call(work())
    assert call.done()
    await call.wait(deadline=0)
    assert call.result() == "done"


async def test_who_waits_for_a_call_goes_on_in_the_turn_of_the_loop_after_its_end() -> None:
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def ask() -> str:
        return await shielded(answer)

    call = Call(ask())
    waiting = begun(call.wait(asyncio.get_running_loop().time() + 60))
    answer.set_result("done")
    await asyncio.sleep(0)
    assert call.done()
    await asyncio.sleep(0)
    assert waiting.done()


async def test_a_call_is_waited_for_until_the_deadline() -> None:
    call = Call(asyncio.Event().wait())
    await call.wait(asyncio.get_running_loop().time() + 0.01)
    assert not call.done()
    call.leave()
    await asyncio.wait({call})


async def test_a_caller_who_leaves_a_call_does_not_end_it() -> None:
    may_end = asyncio.Event()
    call = Call(may_end.wait())
    waiting = begun(call.wait(asyncio.get_running_loop().time() + 60))
    waiting.cancel()
    await asyncio.wait({waiting})
    assert not call.done()
    may_end.set()
    assert await call


async def test_an_error_in_a_thread_is_that_of_who_waits_for_it() -> None:
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0)
