"""The budget of bytes: who gets in, who waits, who is refused, and that nothing of it is lost."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence

import pytest

from agent.errors import AppBusyError
from agent.memory import BUDGET_BYTES, FOR_SMALL, SMALL_BYTES, Memory, Share
from tests.support import PROJECT

MEGABYTE = 1024**2
# As it is in the app: 216 MB for large ones, 72 MB that they leave.
LARGE = 45 * MEGABYTE


async def settled() -> None:
    """Let everybody go on who can."""
    for _ in range(5):
        await asyncio.sleep(0)


class Crowd:
    """Requests that ask for memory and keep it until they are told to end."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._asking: list[tuple[Share, asyncio.Task[None]]] = []

    async def ask(self, more_bytes: int, *, number: int | None = None) -> int:
        """A new request, or one that is there, asks for (more) bytes; its number."""
        share = self.memory.share() if number is None else self._asking[number][0]
        task = asyncio.create_task(share.take(more_bytes))
        self._asking.append((share, task))
        await settled()
        return len(self._asking) - 1

    def got(self, number: int) -> bool:
        """Whether it has what it asked for."""
        _, task = self._asking[number]
        return task.done() and task.exception() is None

    async def end(self, number: int) -> None:
        """It is done, or its caller leaves while it waits."""
        share, task = self._asking[number]
        task.cancel()
        share.close()
        await settled()

    async def end_all(self) -> None:
        for number in range(len(self._asking)):
            await self.end(number)


async def test_large_requests_wait_for_each_other_in_their_order() -> None:
    crowd = Crowd(Memory())
    numbers = [await crowd.ask(LARGE) for _ in range(7)]
    assert [crowd.got(n) for n in numbers] == [True] * 4 + [False] * 3
    await crowd.end(2)
    assert [crowd.got(n) for n in numbers[4:]] == [True, False, False]
    await crowd.end_all()
    assert crowd.memory.used_bytes == crowd.memory.waiting == 0


async def test_small_requests_pass_large_ones_that_wait() -> None:
    crowd = Crowd(Memory())
    large = [await crowd.ask(LARGE) for _ in range(6)]
    small = [await crowd.ask(SMALL_BYTES) for _ in range(9)]
    assert [crowd.got(n) for n in small] == [True] * 9
    # More than what large ones leave to them does not get before these.
    assert not crowd.got(await crowd.ask(SMALL_BYTES))
    await crowd.end(large[0])
    assert crowd.got(large[4])
    await crowd.end_all()
    assert crowd.memory.used_bytes == 0


async def test_small_requests_alone_may_have_all_and_keep_no_large_one_waiting_for_ever() -> None:
    crowd = Crowd(Memory())
    small = [await crowd.ask(SMALL_BYTES) for _ in range(BUDGET_BYTES // SMALL_BYTES + 1)]
    assert [crowd.got(n) for n in small] == [True] * (len(small) - 1) + [False]
    large = await crowd.ask(LARGE)
    for number in small[:6]:
        await crowd.end(number)
        await crowd.ask(SMALL_BYTES)  # they go on coming
    assert crowd.got(large)
    await crowd.end_all()


async def test_what_is_larger_than_all_gets_all_that_large_ones_may_have() -> None:
    crowd = Crowd(Memory())
    assert crowd.got(await crowd.ask(2 * BUDGET_BYTES))
    assert crowd.memory.used_bytes == BUDGET_BYTES * (1 - FOR_SMALL)
    await crowd.end_all()


async def test_those_who_all_wait_for_more_go_on_one_after_the_other() -> None:
    crowd = Crowd(Memory())
    holders = [await crowd.ask(LARGE) for _ in range(4)]
    more = [await crowd.ask(LARGE, number=n) for n in holders]
    # Nobody gives anything back before: the first goes on, beyond the budget.
    for number in more:
        assert [crowd.got(n) for n in more].count(True) >= more.index(number) + 1
        await crowd.end(number)
    assert crowd.memory.used_bytes == 0


async def test_who_waits_for_more_waits_while_somebody_else_works() -> None:
    crowd = Crowd(Memory())
    first, *_ = [await crowd.ask(LARGE) for _ in range(4)]
    more = await crowd.ask(LARGE, number=first)
    assert not crowd.got(more)
    await crowd.end(1)
    assert crowd.got(more)
    await crowd.end_all()


async def test_a_wait_that_is_too_long_is_refused_with_a_time_to_come_again() -> None:
    memory = Memory(wait_s=0.01)
    with memory.share() as first, memory.share() as second:
        await first.take(BUDGET_BYTES)
        with pytest.raises(AppBusyError) as refused:
            await second.take(LARGE)
        assert (refused.value.status, refused.value.retry_after_s) == (503, 10)
        assert second.held_bytes == memory.waiting == 0
    assert memory.used_bytes == 0


type Leave = Callable[[Memory, Share, asyncio.Task[None]], Awaitable[None]]


async def _while_it_waits(_: Memory, __: Share, asking: asyncio.Task[None]) -> None:
    asking.cancel()


async def _in_the_moment_in_which_it_gets_in(
    _: Memory, first: Share, asking: asyncio.Task[None]
) -> None:
    first.close()
    asking.cancel()


async def _before_it_gets_in_and_before_it_knows(
    _: Memory, first: Share, asking: asyncio.Task[None]
) -> None:
    asking.cancel()
    first.close()


@pytest.mark.parametrize(
    "leave",
    [
        _while_it_waits,
        _in_the_moment_in_which_it_gets_in,
        _before_it_gets_in_and_before_it_knows,
    ],
)
async def test_a_caller_that_leaves_gives_its_share_and_its_place_back(leave: Leave) -> None:
    memory = Memory()
    with memory.share() as first, memory.share() as second, memory.share() as third:
        await first.take(BUDGET_BYTES)
        leaving = asyncio.create_task(second.take(LARGE))
        after = asyncio.create_task(third.take(LARGE))
        await settled()
        await leave(memory, first, leaving)
        with pytest.raises(asyncio.CancelledError):
            await leaving
        first.close()
        await after
        assert memory.used_bytes == LARGE
    assert memory.used_bytes == memory.waiting == 0


async def test_what_is_found_out_to_be_less_is_there_for_others_at_once() -> None:
    crowd = Crowd(Memory())
    with crowd.memory.share() as first:
        await first.take(BUDGET_BYTES)
        waiting = await crowd.ask(LARGE)
        assert not crowd.got(waiting)
        first.settle(LARGE)
        await settled()
        assert crowd.got(waiting)
        # More than was asked for is counted too; nobody waits for what is there already.
        first.settle(2 * BUDGET_BYTES)
        assert crowd.memory.used_bytes == 2 * BUDGET_BYTES + LARGE
    await crowd.end_all()
    assert crowd.memory.used_bytes == 0


async def test_a_share_that_is_handed_on_outlives_the_block_of_the_first_one() -> None:
    memory = Memory()
    with memory.share() as first:
        await first.take(LARGE)
        other = first.handed_on()
    assert memory.used_bytes == other.held_bytes == LARGE
    other.close()
    assert memory.used_bytes == 0


async def test_a_call_that_goes_on_for_nobody_counts_nothing() -> None:
    memory = Memory()
    with memory.share() as share:
        pass
    await share.take(LARGE)
    share.settle(LARGE)
    assert memory.used_bytes == 0


@pytest.mark.parametrize(
    "sizes",
    [
        [LARGE] * 50,
        [SMALL_BYTES] * 100,
        [LARGE, SMALL_BYTES] * 40,
        [BUDGET_BYTES, MEGABYTE, LARGE, 3 * BUDGET_BYTES, SMALL_BYTES + 1] * 8,
    ],
    ids=["large", "small", "both", "all kinds"],
)
async def test_whatever_comes_the_budget_holds_and_everybody_gets_in(sizes: Sequence[int]) -> None:
    memory, most = Memory(), 0

    async def request(size: int) -> None:
        nonlocal most
        with memory.share() as share:
            await share.take(size)
            most = max(most, memory.used_bytes)
            await asyncio.sleep(0)
            share.settle(share.held_bytes // 2)
            await asyncio.sleep(0)

    await asyncio.gather(*map(request, sizes))
    assert 0 < most <= BUDGET_BYTES
    assert memory.used_bytes == memory.waiting == 0


# What a worker does with long histories: large blocks come and go, and something small stays behind
# each. Prints by how many MB the process has grown when all of them are gone.
CHURN = """
import sys
from agent.memory import return_what_is_freed
def rss_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1024**2
if sys.argv[1] == "returned":
    return_what_is_freed()
del_me = bytearray(16 * 1024**2)
del del_me
before, large, small = rss_mb(), [], []
for _ in range(20):
    large.append(bytearray(b"x") * 4 * 1024**2)
    small.append(bytearray(100_000))
large.clear()
print(round(rss_mb() - before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator, and /proc")
@pytest.mark.parametrize(("how", "grown_mb"), [("returned", range(8)), ("kept", range(60, 100))])
def test_large_blocks_go_back_to_the_system(how: str, grown_mb: range) -> None:
    command = [sys.executable, "-c", CHURN, how]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert int(done.stdout) in grown_mb
