"""How often the event loop had a turn: what holds it shows without a clock."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def loop_turns(*work: Coroutine[Any, Any, object]) -> int:
    """The turns of the event loop until all of the work, side by side, is done."""
    working = asyncio.gather(*work)
    turns = 0
    while not working.done():
        await asyncio.sleep(0)
        turns += 1
    await working
    return turns
