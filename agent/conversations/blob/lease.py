"""A turn's hold on a conversation in Azure Blob: a lease that is renewed while the turn runs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from azure.core.exceptions import HttpResponseError
from azure.storage.blob.aio import BlobClient, BlobLeaseClient

from agent.conversations.blob.errors import blob_call, code_of
from agent.conversations.shielding import shielded
from agent.errors import AgentError, HoldLostError
from agent.telemetry import logger

LEASE_S: Final = 30
# Two renewals may fail before the lease ends.
_RENEWALS_PER_LEASE: Final = 3


@contextlib.asynccontextmanager
async def leased(blob: BlobClient, lease_s: int) -> AsyncIterator[BlobLeaseClient]:
    """The lease on a blob, renewed until the block ends.

    Raises:
        ConversationBusyError: somebody else has it.
        ConversationNotFoundError: there is no such blob.
    """
    lease = BlobLeaseClient(blob)
    acquired = False

    async def acquire() -> None:
        nonlocal acquired
        async with blob_call():
            await lease.acquire(lease_duration=lease_s)
        acquired = True

    renewal: asyncio.Task[None] | None = None
    try:
        await shielded(acquire())
        renewal = asyncio.create_task(_renew(lease, lease_s / _RENEWALS_PER_LEASE))
        yield lease
    finally:
        if renewal is not None:
            renewal.cancel()
            await asyncio.wait({renewal})
        if acquired:
            await shielded(_release(lease))


async def _renew(lease: BlobLeaseClient, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            async with blob_call():
                await lease.renew()
        except AgentError as error:
            logger.warning("lease not renewed: %s", error.code)
            if not error.retryable or isinstance(error, HoldLostError):
                return  # the append will be told


async def _release(lease: BlobLeaseClient) -> None:
    try:
        async with blob_call():
            await lease.release()
    except AgentError as error:
        # It ends by itself; or the conversation was deleted, and this is no news.
        if error.status != 404:
            logger.warning("lease not released: %s", error.code)


async def append(blob: BlobClient, lease: BlobLeaseClient, data: bytes, at: int) -> None:
    """Add a block behind the first `at` bytes, while the lease is ours.

    Raises:
        HoldLostError: it is not any more.
    """
    async with blob_call():
        try:
            await blob.append_block(data, len(data), lease=lease, appendpos_condition=at)
        except HttpResponseError as error:
            # The client sends it again when the answer was lost: it may be our own.
            if code_of(error) != "AppendPositionConditionNotMet":
                raise
            there = await blob.download_blob(at, len(data))
            if await there.readall() != data:
                raise
