"""A turn's hold on a conversation in Azure Blob: the history's metadata says who has it.

    holder   <32 hexadecimal digits>-<how long the history was when the hold was taken>

Nothing has to be called to give it back: the turn that is added makes the history longer, and so
ends the hold. A lease would take a call more a turn, two for a new conversation. Whoever comes
meanwhile finds the history as long as the hold says, and changed less than HOLD_S ago, by the
service's own clock. Each change names the ETag that the one before it left: whoever lost the hold
cannot write, whatever they still believe.
https://learn.microsoft.com/rest/api/storageservices/set-blob-metadata
https://learn.microsoft.com/rest/api/storageservices/append-block
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Coroutine, Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from agent.conversations.blob.container import METADATA, Container, Reply, as_headers
from agent.conversations.shielding import shielded
from agent.conversations.store import conversation_busy
from agent.errors import AgentError, ConversationNotFoundError, HoldLostError
from agent.telemetry import logger

HOLD_S: Final = 30
_HOLDER: Final = "holder"
# Two renewals may fail before the hold ends.
_RENEWALS_PER_HOLD: Final = 3
_CHANGED: Final = frozenset({"ConditionNotMet", "AppendPositionConditionNotMet"})


class Hold:
    """The hold on one history, for one turn.

    Args:
        container: where the history is.
        blob: its name.
        metadata: that it has, or will have.
        size_bytes: how long it is.
        hold_s: how long the hold of a worker that died lasts.
    """

    def __init__(
        self,
        container: Container,
        blob: str,
        metadata: Mapping[str, str],
        size_bytes: int,
        hold_s: float,
    ) -> None:
        self._container = container
        self._blob = blob
        self._free = {name: text for name, text in metadata.items() if name != _HOLDER}
        self._held = {**self._free, _HOLDER: f"{secrets.token_hex(16)}-{size_bytes}"}
        self._size_bytes = size_bytes
        self._hold_s = hold_s
        self._etag = ""
        self._is_ours = False
        self._renew_every_s = hold_s / _RENEWALS_PER_HOLD
        self._timer: asyncio.TimerHandle | None = None
        self._renewal: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def kept(self, taking: Coroutine[object, object, None]) -> AsyncIterator[None]:
        """Take the hold by `make` or `take`, and renew it until it is used or the block ends."""
        try:
            await shielded(taking)
            # Most turns end before a task is needed.
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._renew_every_s, self._begin_to_renew)
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._renewal is not None or self._is_ours:
                await shielded(self._end())

    async def make(self, media_type: str) -> None:
        """Make the history, which is empty and ours."""
        headers = {"x-ms-blob-content-type": media_type, **as_headers(self._held)}
        reply = await self._container.put(self._blob, "AppendBlob", headers=headers)
        self._etag, self._is_ours = reply.headers["etag"], True

    async def take(self, found: Reply) -> None:
        """Take the hold on the history as it was found.

        Raises:
            ConversationBusyError: somebody else has it, or has changed the history meanwhile.
        """
        _, _, length = found.headers.get(f"{METADATA}{_HOLDER}", "").partition("-")
        if length == str(self._size_bytes) and _age(found) <= timedelta(seconds=self._hold_s):
            raise conversation_busy()
        self._etag = found.headers["etag"]
        self._is_ours = await self._set(self._held)
        if not self._is_ours:
            raise conversation_busy()

    async def append(self, data: bytes, at: int) -> None:
        """Add a block behind the first `at` bytes, which ends the hold.

        Raises:
            HoldLostError: it was not ours any more.
        """
        await self._stop_renewing()
        while True:
            headers = {"x-ms-blob-condition-appendpos": str(at), "If-Match": self._etag}
            reply = await self._container.request(
                "PUT", self._blob, "appendblock", headers=headers, body=data, accepts=_CHANGED
            )
            if reply.status >= 300:
                # It is sent again when its answer was lost: what is there may be our own.
                there = await self._container.read(self._blob, at, len(data))
                reply = there.reply
                if there.content != data:
                    if not self._is_still_ours(there.reply, there.size_bytes):
                        self._is_ours = False
                        raise _lost()
                    continue  # a renewal was done whose answer was lost
            self._etag, self._is_ours = reply.headers["etag"], False
            return

    async def delete(self) -> None:
        """Delete the history.

        Raises:
            HoldLostError: it was not ours any more.
        """
        await self._stop_renewing()
        # It was there: that it is not is our own doing, whose answer was lost.
        with contextlib.suppress(ConversationNotFoundError):
            if await self._changed("DELETE") is None:
                raise _lost()
        self._is_ours = False

    async def _set(self, metadata: Mapping[str, str]) -> bool:
        """Change the metadata; False if others have changed the history."""
        reply = await self._changed("PUT", "metadata", as_headers(metadata))
        if reply is not None:
            self._etag = reply.headers["etag"]
        return reply is not None

    async def _changed(
        self, method: str, operation: str = "", headers: Mapping[str, str] | None = None
    ) -> Reply | None:
        """The answer to a change of the history; None if others have changed it."""
        while True:
            reply = await self._container.request(
                method,
                self._blob,
                operation,
                headers={**(headers or {}), "If-Match": self._etag},
                accepts=_CHANGED,
            )
            if reply.code not in _CHANGED:
                return reply
            # An answer may have been lost, so that our own was done before.
            now = await self._container.request("HEAD", self._blob)
            if not self._is_still_ours(now, int(now.headers.get("content-length", 0))):
                return None

    def _is_still_ours(self, now: Reply, size_bytes: int) -> bool:
        """Whether our own change was the last: only its ETag lets us write, and is taken."""
        etag = now.headers["etag"]
        is_same = now.metadata.get(_HOLDER) == self._held[_HOLDER]
        if not is_same or size_bytes != self._size_bytes or etag == self._etag:
            return False
        self._etag = etag
        return True

    def _begin_to_renew(self) -> None:
        self._renewal = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        while True:
            try:
                # Where it is lost, the turn that is added will be told.
                if not await self._set(self._held):
                    return
            except AgentError as error:
                logger.warning("hold not renewed: %s", error.code)
                if not error.retryable:
                    return
            await asyncio.sleep(self._renew_every_s)

    async def _stop_renewing(self) -> None:
        """Wait for no renewal: if it is done nevertheless, the next change finds out."""
        if self._timer is not None:
            self._timer.cancel()
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait({self._renewal})

    async def _end(self) -> None:
        await self._stop_renewing()
        if not self._is_ours:
            return
        try:
            await self._set(self._free)
        except AgentError as error:
            # It ends by itself; or the conversation was deleted, and this is no news.
            if error.status != 404:
                logger.warning("hold not given back: %s", error.code)


def _age(found: Reply) -> timedelta:
    date, changed = (parsedate_to_datetime(found.headers[h]) for h in ("date", "last-modified"))
    return date - changed


def _lost() -> HoldLostError:
    return HoldLostError("Another turn continued the conversation. Ask again.")
