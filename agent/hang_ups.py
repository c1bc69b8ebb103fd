"""A caller that hangs up ends what was done for it."""

import asyncio
from collections.abc import Coroutine

from starlette.types import Receive


class HungUpError(Exception):
    """The caller is gone: nobody reads an answer."""


async def unless_hung_up[T](receive: Receive, work: Coroutine[None, None, T]) -> T:
    """The result of `work`, which is cancelled, and has ended, when the caller hangs up.

    The Functions worker cancels neither a handler nor a response that waits for its turn to send:
    both have to ask.

    Args:
        receive: of the request, whose body must have been read.
        work: what is done for the caller.

    Raises:
        HungUpError: the caller hung up first.
    """
    working = asyncio.create_task(work)
    hang_up = asyncio.create_task(_hang_up(receive))
    try:
        await asyncio.wait({working, hang_up}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise HungUpError
        return working.result()
    finally:
        hang_up.cancel()
        working.cancel()
        await asyncio.wait({working, hang_up})


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
