"""The conversations of one owner in a container, newest first: an index of empty blobs.

    <owner>/recent/<age>-<conversation id>    metadata: title, created_at, turns

Azure Blob lists by name alone, so the name has the time of the last question, counted backwards:
the first page of the list is the newest conversations, in one call. The blob of a conversation that
goes on is made anew under its new name. The histories are what counts: where a worker dies between
the two, the list has an old entry too many.
https://learn.microsoft.com/rest/api/storageservices/list-blobs
"""

import asyncio
import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Final

from agent.conversations.blob.container import Container, ListedBlob, as_headers
from agent.conversations.owner import Owner
from agent.conversations.records import ConversationPage, ConversationSummary
from agent.conversations.store import unknown_cursor
from agent.errors import AgentError, ConversationNotFoundError
from agent.telemetry import logger

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# In the year 2286 the names would need another digit.
_LATEST_US: Final = 10**16 - 1
# A page may end before it is full, where Azure's own partitions do.
_CALLS_MAX: Final = 2
# A blob's name has at most 1,024, and Azure writes it in base64.
_MARKER_MAX_CHARS: Final = 2048


class RecentConversations:
    """The index; owners who have not signed in have none."""

    def __init__(self, container: Container) -> None:
        self._container = container

    async def put(
        self, owner: Owner, conversation: ConversationSummary, before: datetime | None
    ) -> None:
        """Show a conversation as it is now.

        A failure is logged: the conversation itself is kept.

        Args:
            owner: whose.
            conversation: as it is now.
            before: its `updated_at` in the list; None if it is not there yet.
        """
        if owner.is_anonymous:
            return
        metadata = {
            "title": _encoded(conversation.title),
            "created_at": conversation.created_at.isoformat(),
            "turns": str(conversation.turn_count),
        }
        entry = self._entry(owner, conversation.id, conversation.updated_at)

        async def upload() -> None:
            try:
                await self._container.put(entry, "BlockBlob", as_headers(metadata))
            except AgentError as error:
                logger.warning("conversation not listed: %s", error.code)

        if before is None or before == conversation.updated_at:
            await upload()
        else:
            await asyncio.gather(upload(), self.remove(owner, conversation.id, before))

    async def remove(self, owner: Owner, conversation_id: str, updated_at: datetime) -> None:
        """Show a conversation no more; a failure is logged."""
        if owner.is_anonymous:
            return
        try:
            entry = self._entry(owner, conversation_id, updated_at)
            await self._container.request("DELETE", entry)
        except ConversationNotFoundError:
            pass  # it was never listed
        except AgentError as error:
            logger.warning("conversation still listed: %s", error.code)

    async def page(self, owner: Owner, limit: int, cursor: str | None) -> ConversationPage:
        """See ConversationStore.list_conversations."""
        marker = _marker_of(cursor) if cursor else ""
        found: list[ConversationSummary] = []
        for _ in range(_CALLS_MAX):
            page = await self._container.list_blobs(
                _folder(owner),
                marker,
                parameters={"include": "metadata", "maxresults": str(limit - len(found))},
                accepts={400} if cursor else (),
            )
            if page is None:
                raise unknown_cursor()
            blobs, marker = page
            found += map(_summary, blobs)
            if not marker or len(found) >= limit:
                break
        return ConversationPage(tuple(found), _encoded(marker) if marker else None)

    def _entry(self, owner: Owner, conversation_id: str, updated_at: datetime) -> str:
        age = _LATEST_US - (updated_at - _EPOCH) // timedelta(microseconds=1)
        return f"{_folder(owner)}{age:016}-{conversation_id}"


def _summary(blob: ListedBlob) -> ConversationSummary:
    age, _, conversation_id = blob.name.rpartition("/")[2].partition("-")
    return ConversationSummary(
        conversation_id,
        _decoded(blob.metadata.get("title", "")),
        datetime.fromisoformat(blob.metadata["created_at"]),
        _EPOCH + timedelta(microseconds=_LATEST_US - int(age)),
        int(blob.metadata["turns"]),
    )


def _folder(owner: Owner) -> str:
    return f"{owner.folder}/recent/"


def _encoded(text: str) -> str:
    """Any text in the characters that a header and a URL take."""
    return base64.urlsafe_b64encode(text.encode()).decode()


def _decoded(text: str) -> str:
    return base64.b64decode(text, altchars=b"-_", validate=True).decode()


def _marker_of(cursor: str) -> str:
    try:
        marker = _decoded(cursor)
    except (binascii.Error, ValueError):
        raise unknown_cursor() from None
    # What is left of what nobody gave is Azure's to refuse.
    if not marker.isprintable() or len(marker) > _MARKER_MAX_CHARS:
        raise unknown_cursor()
    return marker
