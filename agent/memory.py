"""How much memory callers may take together with what they send and what is read for them.

A request has a share, which is counted before its bytes are there. Where there is no room it waits
in a line: large ones in theirs, small ones in another, so that none waits behind large ones.
"""

import asyncio
from collections import deque
from contextlib import suppress
from functools import cache
from importlib import import_module
from types import TracebackType
from typing import Final, Self

from agent.errors import AppBusyError
from agent.telemetry import logger

# A worker takes 100 MB by itself, four readers of histories 40 MB each, and what is parsed or sent
# just now some more: together less than 600 MB.
BUDGET_BYTES: Final = 288 * 1024**2
# What is shorter is not counted: there are only as many of those as the host lets in.
FREE_BYTES: Final = 256 * 1024
# A larger share is a large one. They leave a quarter of the budget to the others.
SMALL_BYTES: Final = 8 * 1024**2
FOR_SMALL: Final = 0.25
WAIT_S: Final = 20
# Larger than what a connection reads at a time.
RETURNED_BYTES: Final = 1024**2
_M_MMAP_THRESHOLD: Final = -3
RETRY_AFTER_S: Final = 10


@cache
def return_what_is_freed() -> None:
    """Give large blocks back to the system when they are freed, from now on.

    glibc keeps them once the first one was freed, in a heap for each thread: a worker that has
    served 20 long histories then takes 180 MB more. https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library
        # Some ms of a cold start, for those who need it.
        import_module("ctypes").CDLL(None).mallopt(_M_MMAP_THRESHOLD, RETURNED_BYTES)


class Memory:
    """A number of bytes that requests share. Of one event loop.

    Attributes:
        used_bytes: of all shares.
        waiting: how many requests wait.
        wait_s: how long one waits for room.
        parsing: held while something large is parsed, which takes Python's lock: two at a time take
            twice the memory and no less time.
    """

    def __init__(self, max_bytes: int = BUDGET_BYTES, *, wait_s: float = WAIT_S) -> None:
        """Nothing is taken yet.

        Args:
            max_bytes: of all shares.
            wait_s: how long a request waits for room.
        """
        self._max_bytes = max_bytes
        self._for_small = int(max_bytes * FOR_SMALL)
        self.wait_s = wait_s
        self.parsing = asyncio.Lock()
        self._small_bytes = 0
        self._large_bytes = 0
        self._small: deque[_Wish] = deque()
        self._large: deque[_Wish] = deque()

    def __repr__(self) -> str:
        return f"<Memory {self.used_bytes:,} of {self._max_bytes:,} bytes, {self.waiting} waiting>"

    @property
    def used_bytes(self) -> int:
        """See above."""
        return self._small_bytes + self._large_bytes

    @property
    def waiting(self) -> int:
        """See above."""
        return len(self._small) + len(self._large)

    def share(self) -> "Share":
        """The share of one request, with nothing in it yet; `with` gives it back."""
        return Share(self)

    async def take(self, share: "Share", more_bytes: int) -> None:
        """See Share.take."""
        return_what_is_freed()
        is_large = share.held_bytes + more_bytes > SMALL_BYTES
        if is_large:
            # Whatever is larger than all may be has all.
            more_bytes = min(more_bytes, self._max_bytes - self._for_small)
        wish = _Wish(share, more_bytes, is_large=is_large)
        line = self._large if is_large else self._small
        line.append(wish)
        self.go_on()
        try:
            async with asyncio.timeout(self.wait_s):
                await wish.granted
        except BaseException as error:
            if wish in line:
                line.remove(wish)
            elif not wish.granted.cancelled():
                share.add(-more_bytes, is_large=is_large)
            self.go_on()
            if isinstance(error, TimeoutError):
                logger.warning("AppBusy: %r", self)
                raise AppBusyError(
                    "Other requests have all the memory that there is for what callers send and "
                    "for the histories of conversations. Send it again, or less of it.",
                    retry_after_s=RETRY_AFTER_S,
                ) from None
            raise

    def count(self, change_bytes: int, *, is_large: bool) -> None:
        """Some more or less is held."""
        if is_large:
            self._large_bytes += change_bytes
        else:
            self._small_bytes += change_bytes

    def go_on(self) -> None:
        """Let in whom there is room for, each line in its order."""
        if not self._small and not self._large:
            return
        for line in (self._small, self._large):
            while line and self._has_room_for(line[0]):
                self._grant(line, line[0])
        # Who has a share and waits for more gives nothing back meanwhile. Where there is nobody
        # else, nobody would ever go on: so one does, beyond the budget.
        holders = [wish for wish in (*self._small, *self._large) if wish.share.held_bytes]
        if holders and sum(wish.share.held_bytes for wish in holders) == self.used_bytes:
            self._grant(self._large if holders[0].is_large else self._small, holders[0])

    def _has_room_for(self, wish: "_Wish") -> bool:
        if self.used_bytes + wish.more_bytes > self._max_bytes:
            return False
        if wish.is_large:
            return self._large_bytes + wish.more_bytes <= self._max_bytes - self._for_small
        # While a large one waits, those after it leave what is not theirs.
        return not self._large or self._small_bytes + wish.more_bytes <= self._for_small

    def _grant(self, line: "deque[_Wish]", wish: "_Wish") -> None:
        line.remove(wish)
        if not wish.granted.done():  # else its caller has left, and does not know it yet
            wish.share.add(wish.more_bytes, is_large=wish.is_large)
            wish.granted.set_result(None)


class Share:
    """What one request holds, or is about to.

    Attributes:
        memory: of which it is a share.
        held_bytes: as far as it is counted.
    """

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._is_large = False
        self._is_closed = False
        self.held_bytes = 0

    async def take(self, more_bytes: int) -> None:
        """Wait until there is room for more.

        Raises:
            AppBusyError: there was none in time.
        """
        if not self._is_closed:
            await self.memory.take(self, more_bytes)

    def settle(self, held_bytes: int) -> None:
        """Say what is held, now that it is known; nobody waits for that."""
        self.add(held_bytes - self.held_bytes, is_large=self._is_large)
        self.memory.go_on()

    def add(self, more_bytes: int, *, is_large: bool) -> None:
        """For Memory, which lets others in afterwards."""
        if self._is_closed:
            return
        self.memory.count(-self.held_bytes, is_large=self._is_large)
        self.held_bytes += more_bytes
        self._is_large = is_large and self.held_bytes > 0
        self.memory.count(self.held_bytes, is_large=self._is_large)

    def handed_on(self) -> Self:
        """Another share with what is in this one, for what goes on when its block has ended."""
        other = type(self)(self.memory)
        other._is_large = self._is_large
        other.held_bytes = self.held_bytes
        self.held_bytes, self._is_closed = 0, True
        return other

    def close(self) -> None:
        """Give it back, for good: a call that still goes on for nobody counts no more."""
        self.settle(0)
        self._is_closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Wish:
    """Somebody in a line."""

    def __init__(self, share: Share, more_bytes: int, *, is_large: bool) -> None:
        self.share = share
        self.more_bytes = more_bytes
        self.is_large = is_large
        self.granted = asyncio.get_running_loop().create_future()
