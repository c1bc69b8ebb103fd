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
from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Final, Self

from agent.conversations.blob.container import Container, Part, Reply, as_headers
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
    """The hold on one history, for one turn; it ends with the block at the latest.

    Attributes:
        blob: name of the history.
        metadata: that it has besides.
    """

    def __init__(self, container: Container, blob: str, hold_s: float) -> None:
        """Prepare; nothing is sent.

        Args:
            container: where the history is.
            blob: its name.
            hold_s: how long the hold of a worker that died lasts.
        """
        self.blob = blob
        self.metadata: dict[str, str] = {}
        self._etag = ""
        self._container = container
        self._token = secrets.token_hex(16)
        self._size_bytes = 0
        self._hold_s = hold_s
        self._is_ours = False
        self._renew_every_s = hold_s / _RENEWALS_PER_HOLD
        self._timer: asyncio.TimerHandle | None = None
        self._renewal: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._renewal is not None or self._is_ours:
            await shielded(self._end())

    async def make(self, metadata: Mapping[str, str], media_type: str) -> None:
        """Make the history, which is empty and ours."""
        self.metadata = dict(metadata)
        await shielded(self._make(media_type))
        self._renew_later()

    async def take(self, found: Part) -> None:
        """Take the hold on the history as it was found.

        Raises:
            ConversationBusyError: somebody else has it, or has changed the history meanwhile.
        """
        self._found(found.reply.headers["etag"], found.reply.metadata, found.size_bytes)
        holder = found.reply.metadata.get(_HOLDER, "")
        # Its answer may have been lost, of `take_again`.
        self._is_ours = holder == self._held[_HOLDER]
        if not self._is_ours:
            length = holder.partition("-")[2]
            lives = timedelta(seconds=self._hold_s)
            if length == str(found.size_bytes) and _age(found.reply) <= lives:
                raise conversation_busy()
            await shielded(self._take())
            if not self._is_ours:
                raise conversation_busy()
        self._renew_later()

    async def take_again(self, etag: str, metadata: Mapping[str, str], size_bytes: int) -> bool:
        """Take the hold on the history as a turn left it; False if others have changed it since.

        Then it has to be read, and taken as it is found.
        """
        self._found(etag, metadata, size_bytes)
        await shielded(self._take_again())
        if self._is_ours:
            self._renew_later()
        return self._is_ours

    def _found(self, etag: str, metadata: Mapping[str, str], size_bytes: int) -> None:
        self._etag, self._size_bytes = etag, size_bytes
        self.metadata = {name: text for name, text in metadata.items() if name != _HOLDER}

    @property
    def _held(self) -> dict[str, str]:
        return {**self.metadata, _HOLDER: f"{self._token}-{self._size_bytes}"}

    async def _make(self, media_type: str) -> None:
        headers = {"x-ms-blob-content-type": media_type, **as_headers(self._held)}
        reply = await self._container.put(self.blob, "AppendBlob", headers=headers)
        self._etag, self._is_ours = reply.headers["etag"], True

    async def _take(self) -> None:
        self._is_ours = await self._set(self._held)

    async def _take_again(self) -> None:
        reply = await self._change("PUT", "metadata", as_headers(self._held))
        if reply.code not in _CHANGED:
            self._etag, self._is_ours = reply.headers["etag"], True

    def _renew_later(self) -> None:
        # Most turns end before a task is needed.
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._renew_every_s, self._begin_to_renew)

    async def append(self, data: bytes, at: int) -> str:
        """Add a block behind the first `at` bytes, which ends the hold.

        The value is the ETag that the history has then; empty where others may have come since.

        Raises:
            HoldLostError: it was not ours any more.
        """
        await self._stop_renewing()
        while True:
            headers = {"x-ms-blob-condition-appendpos": str(at), "If-Match": self._etag}
            reply = await self._container.request(
                "PUT", self.blob, "appendblock", headers=headers, body=data, accepts=_CHANGED
            )
            if reply.status < 300:
                self._etag, self._is_ours = reply.headers["etag"], False
                return self._etag
            # It is sent again when its answer was lost: what is there may be our own.
            there = await self._container.read(self.blob, at, len(data))
            if there.content == data:
                self._etag, self._is_ours = there.reply.headers["etag"], False
                return ""
            if not self._is_still_ours(there.reply, there.size_bytes):
                self._is_ours = False
                raise _lost()
            # A renewal was done whose answer was lost.

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
            reply = await self._change(method, operation, headers)
            if reply.code not in _CHANGED:
                return reply
            # An answer may have been lost, so that our own was done before.
            now = await self._container.request("HEAD", self.blob)
            if not self._is_still_ours(now, int(now.headers.get("content-length", 0))):
                return None

    async def _change(
        self, method: str, operation: str, headers: Mapping[str, str] | None = None
    ) -> Reply:
        headers = {**(headers or {}), "If-Match": self._etag}
        return await self._container.request(
            method, self.blob, operation, headers=headers, accepts=_CHANGED
        )

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
            await self._set(self.metadata)
        except AgentError as error:
            # It ends by itself; or the conversation was deleted, and this is no news.
            if error.status != 404:
                logger.warning("hold not given back: %s", error.code)


def _age(found: Reply) -> timedelta:
    date, changed = (parsedate_to_datetime(found.headers[h]) for h in ("date", "last-modified"))
    return date - changed


def _lost() -> HoldLostError:
    return HoldLostError("Another turn continued the conversation. Ask again.")
