"""A turn's hold on a conversation in Azure Blob: a lease that is renewed while the turn runs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final, Self

from azure.core.exceptions import HttpResponseError
from azure.storage.blob.aio import BlobClient, BlobLeaseClient

from agent.conversations.blob_errors import blob_call, code_of
from agent.conversations.finishing import to_the_end
from agent.conversations.lines import Line, encode
from agent.conversations.records import Conversation, Turn
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
        await to_the_end(acquire())
        renewal = asyncio.create_task(_renew(lease, lease_s / _RENEWALS_PER_LEASE))
        yield lease
    finally:
        if renewal is not None:
            renewal.cancel()
            await asyncio.wait({renewal})
        if acquired:
            await to_the_end(_release(lease))


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


class BlobHold:
    """A conversation whose lease is ours while the block runs."""

    def __init__(
        self,
        blob: BlobClient,
        lease: BlobLeaseClient,
        conversation: Conversation,
        size_bytes: int,
        turn_max_bytes: int,
    ) -> None:
        self._blob = blob
        self._lease = lease
        self._conversation = conversation
        self._size_bytes = size_bytes
        self._turn_max_bytes = turn_max_bytes
        self._ended = False

    @property
    def conversation(self) -> Conversation:
        """See HeldConversation."""
        return self._conversation

    async def append(self, turn: Turn) -> None:
        """See HeldConversation."""
        if self._ended:
            raise HoldLostError("The turn ended before it was added.")
        before = self._conversation
        line, data = encode(Line(before.turn_count + 1, turn), self._turn_max_bytes)
        try:
            await to_the_end(self._append(data))
        except asyncio.CancelledError:
            self._ended = True  # whether it was added is not known here
            raise
        self._size_bytes += len(data)
        self._conversation = replace(before, turns=(*before.turns, line.turn))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True

    async def _append(self, data: bytes) -> None:
        async with blob_call():
            try:
                await self._blob.append_block(
                    data, len(data), lease=self._lease, appendpos_condition=self._size_bytes
                )
            except HttpResponseError as error:
                # The client sends it again when the answer was lost: it may be our own.
                if code_of(error) != "AppendPositionConditionNotMet":
                    raise
                there = await self._blob.download_blob(self._size_bytes, len(data))
                if await there.readall() != data:
                    raise
