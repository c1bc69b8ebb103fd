"""Cancels the work for a caller that disconnects."""

import asyncio
from collections.abc import Coroutine

from starlette.types import Receive


class DisconnectedError(Exception):
    """The caller is gone: nobody reads an answer."""


async def cancel_on_disconnect[T](receive: Receive, work: Coroutine[None, None, T]) -> T:
    """The result of `work`, which is cancelled, and has ended, when the caller disconnects.

    The Functions worker cancels neither a handler nor a response that waits for its turn to send:
    both have to ask.

    Args:
        receive: of the request, whose body must have been read.
        work: what is done for the caller.

    Raises:
        DisconnectedError: the caller disconnected first.
    """
    loop = asyncio.get_running_loop()
    # Eager: each begins here, where it would wait for the loop's next turn.
    working = asyncio.eager_task_factory(loop, work)
    disconnect = asyncio.eager_task_factory(loop, _disconnect(receive))
    try:
        await asyncio.wait({working, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise DisconnectedError
        return working.result()
    finally:
        disconnect.cancel()
        working.cancel()
        await asyncio.wait({working, disconnect})


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
