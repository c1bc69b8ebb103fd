"""What else could answer: the model servers that run here while the stand-in does."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from local.model_servers.errors import ModelServerError
from local.model_servers.finding import Found, running
from local.model_servers.kinds import KINDS, Kind

_TIMEOUT_S: Final = 1


async def offers(
    command: str, kinds: Sequence[Kind] = KINDS, *, timeout_s: float = _TIMEOUT_S
) -> list[str]:
    """A line for each server on its usual port: what it has, and the command that takes it.

    Args:
        command: with {} where the server is named.
        kinds: whose ports are looked at.
        timeout_s: for all of them together.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            return [_offer(found, command) for found in await running(kinds)]
    return []


def _offer(found: Found, command: str) -> str:
    is_usual = found.url == f"http://127.0.0.1:{found.kind.port}/v1"
    where = command.format(found.kind.name if is_usual else found.url)
    try:
        return f"{found.kind.title} is running with {found.choose().name}: {where}"
    except ModelServerError as error:
        return str(error)
