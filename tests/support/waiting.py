"""Waiting for what tells nobody when it has come: by looking again."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(holds: Callable[[], object], timeout_s: float = 60) -> None:
    """Look until what it gives, awaited where it can be, is true.

    The event loop goes on meanwhile, which `processes.wait_until` stops.

    Raises:
        TimeoutError: it was not in that time.
    """
    async with asyncio.timeout(timeout_s):
        while True:
            found = holds()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return
            await asyncio.sleep(0.01)
