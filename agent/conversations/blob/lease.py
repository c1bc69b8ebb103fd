"""A turn's hold on a conversation in Azure Blob: a lease that is renewed while the turn runs.

https://learn.microsoft.com/rest/api/storageservices/lease-blob
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Final

from agent.conversations.blob.container import Container
from agent.conversations.blob.errors import error_of
from agent.conversations.shielding import shielded
from agent.errors import AgentError, HoldLostError
from agent.telemetry import logger

LEASE_S: Final = 30
# Two renewals may fail before the lease ends.
_RENEWALS_PER_LEASE: Final = 3


@contextlib.asynccontextmanager
async def leased(container: Container, blob: str, lease_s: int) -> AsyncIterator[str]:
    """The id of the lease on a blob, which is renewed until the block ends.

    Raises:
        ConversationBusyError: somebody else has it.
        ConversationNotFoundError: there is no such blob.
    """
    lease = str(uuid.uuid4())
    acquired = False

    async def acquire() -> None:
        nonlocal acquired
        # Proposed by us: where the answer is lost, asking again gives the same lease.
        headers = {"x-ms-lease-duration": str(lease_s), "x-ms-proposed-lease-id": lease}
        await _ask(container, blob, "acquire", headers)
        acquired = True

    renewal: asyncio.Task[None] | None = None
    try:
        await shielded(acquire())
        renewal = asyncio.create_task(_renew(container, blob, lease, lease_s / _RENEWALS_PER_LEASE))
        yield lease
    finally:
        if renewal is not None:
            renewal.cancel()
            await asyncio.wait({renewal})
        if acquired:
            await shielded(_release(container, blob, lease))


async def _ask(container: Container, blob: str, action: str, headers: dict[str, str]) -> None:
    await container.request("PUT", blob, "lease", headers={"x-ms-lease-action": action, **headers})


async def _renew(container: Container, blob: str, lease: str, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            await _ask(container, blob, "renew", {"x-ms-lease-id": lease})
        except AgentError as error:
            logger.warning("lease not renewed: %s", error.code)
            if not error.retryable or isinstance(error, HoldLostError):
                return  # the append will be told


async def _release(container: Container, blob: str, lease: str) -> None:
    try:
        await _ask(container, blob, "release", {"x-ms-lease-id": lease})
    except AgentError as error:
        # It ends by itself; or the conversation was deleted, and this is no news.
        if error.status != 404:
            logger.warning("lease not released: %s", error.code)


async def append(container: Container, blob: str, lease: str, data: bytes, at: int) -> None:
    """Add a block behind the first `at` bytes, while the lease is ours.

    Args:
        container: where the blob is.
        blob: its name.
        lease: on it; empty if it needs none.
        data: the block.
        at: how long the blob must be.

    Raises:
        HoldLostError: the lease is not ours any more, or somebody else added to the blob.
    """
    headers = {"x-ms-blob-condition-appendpos": str(at)}
    if lease:
        headers["x-ms-lease-id"] = lease
    refused = "AppendPositionConditionNotMet"
    reply = await container.request(
        "PUT", blob, "appendblock", headers=headers, body=data, accepts={refused}
    )
    # It is sent again when its answer was lost: what is there may be our own.
    if reply.code == refused and (await container.read(blob, at, len(data))).content != data:
        raise error_of(reply.status, reply.code)
