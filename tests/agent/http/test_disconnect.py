"""Work for a caller that hangs up ends; so does all that it had begun."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from starlette.types import Message

from agent.events import ExecutionStarted, TextDelta
from agent.http.disconnect import DisconnectedError, cancel_on_disconnect
from agent.turns.turn import TurnRequest, stateless_turn
from local.azure_openai import CallTool, Say, Slow
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Caller:
    """Sends nothing more and hangs up when told."""

    def __init__(self) -> None:
        self.hung_up = asyncio.Event()

    async def receive(self) -> Message:
        await self.hung_up.wait()
        return {"type": "http.disconnect"}


@contextmanager
def no_task_left() -> Iterator[None]:
    """Fail a test that leaves something running."""
    before = asyncio.all_tasks()
    yield
    assert asyncio.all_tasks() - before == set()


async def test_work_that_is_done_has_its_result() -> None:
    async def work() -> int:
        return 42

    with no_task_left():
        assert await cancel_on_disconnect(Caller().receive, work()) == 42


async def test_an_error_of_the_work_comes_through() -> None:
    async def work() -> None:
        raise LookupError

    with no_task_left(), pytest.raises(LookupError):
        await cancel_on_disconnect(Caller().receive, work())


async def test_a_hang_up_ends_the_work_before_it_is_told() -> None:
    caller, ended = Caller(), asyncio.Event()

    async def work() -> None:
        caller.hung_up.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.set()

    with no_task_left(), pytest.raises(DisconnectedError):
        await cancel_on_disconnect(caller.receive, work())
    assert ended.is_set()


async def test_work_that_never_waits_ends_though_its_caller_is_gone_already() -> None:
    caller = Caller()
    caller.hung_up.set()

    async def work() -> int:
        return 42

    with no_task_left():
        assert await cancel_on_disconnect(caller.receive, work()) == 42
        await asyncio.sleep(0)  # no cancellation is left for it


async def test_an_error_of_work_that_never_waits_comes_through_though_its_caller_is_gone() -> None:
    caller = Caller()
    caller.hung_up.set()

    async def work() -> None:
        raise LookupError

    with no_task_left(), pytest.raises(LookupError):
        await cancel_on_disconnect(caller.receive, work())


async def test_work_that_passes_its_cancellation_not_on_leaves_its_task_as_it_was() -> None:
    caller, task = Caller(), asyncio.current_task()

    async def work() -> int:
        caller.hung_up.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return 42

    with no_task_left():
        assert await cancel_on_disconnect(caller.receive, work()) == 42
    assert task
    assert task.cancelling() == 0


async def test_who_cancels_the_work_of_a_caller_that_hangs_up_is_told_of_a_cancellation() -> None:
    caller = Caller()

    async def work() -> None:
        await cancel_on_disconnect(caller.receive, asyncio.Event().wait())

    with no_task_left():
        working = asyncio.create_task(work())
        await asyncio.sleep(0)
        caller.hung_up.set()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working


async def test_a_turn_closed_between_two_words_closes_the_models_stream(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    azure.stack.openai.faults.inject(Slow(between_chunks_s=0.05))
    before = azure.stack.openai.hang_ups.count
    with azure.model.script(Say("one two three four five " * 100)):
        async with open_runtime() as runtime:
            turn = stateless_turn(runtime.turns, TurnRequest("Hi", stream=True))
            assert isinstance(await anext(turn), TextDelta)
            # Nothing waits in the turn now: whoever reads it is busy sending.
            await turn.aclose()
            async with asyncio.timeout(10):
                await azure.stack.openai.hang_ups.wait(before + 1)


async def test_a_turn_closed_while_code_runs_gives_its_session_back(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    before = repr(azure.stack.pool)
    with azure.model.script(CallTool(code="import time; time.sleep(60)")):
        async with open_runtime() as runtime:
            turn = stateless_turn(runtime.turns, TurnRequest("Hi", stream=True))
            assert isinstance(await anext(turn), ExecutionStarted)
            await until(lambda: repr(azure.stack.pool) != before)
            async with asyncio.timeout(30):
                await turn.aclose()
        # Closing the runtime waits for what runs in the background: the deletion.
    assert repr(azure.stack.pool) == before
