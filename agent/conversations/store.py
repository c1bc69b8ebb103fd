"""The protocol of every conversation store.

How it is kept, in Azure Blob and on disk alike: one file per conversation, one line of JSON per
turn, appended. So a turn costs what it is long, however long the conversation is: rewriting one
document per turn would cost the square of the conversation, and a file per turn would make reading
one cost as many requests as there are turns. What is read is bounded (`Limits`): the newest turns
lie at the end, where one range finds them.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Final, Protocol
from urllib.parse import urlsplit

import aiohttp

from agent.conversations.owner import IdentifierKey, Owner
from agent.conversations.records import Conversation, ConversationPage, StoredFile, Turn
from agent.errors import (
    ConversationBusyError,
    ConversationNotFoundError,
    FileNotStoredError,
    InvalidRequestError,
    PayloadTooLargeError,
    SettingsError,
    StoreError,
)
from agent.frozen import frozen
from agent.memory import Share
from agent.tokens import TokenProvider

# What another caller is told to wait while a turn runs: most take some seconds.
BUSY_RETRY_AFTER_S: Final = 5
KEY_NAME: Final = "pool-identifier-key"
# Each is imported when an app uses it: the folder needs flock, which Windows does not have.
_STORES: Final = {
    "file": "agent.conversations.folder.store",
    "https": "agent.conversations.blob.store",
}


@frozen
class Limits:
    """The limits of a store: sizes that it accepts, and the length of history that it reads.

    Attributes:
        turn_max_bytes: of one stored turn; longer outputs are shortened (`lines.encode`).
        hold_max_bytes: read of the history when a turn begins.
        get_max_bytes: read of the history for the caller. Both read one turn at least.
        turns_max: of one conversation; an append blob takes 50,000 blocks.
        file_max_bytes: of one file, as the session pool takes it: 128 MB.
    """

    turn_max_bytes: int = 2 * 1024**2
    hold_max_bytes: int = 1024**2
    get_max_bytes: int = 8 * 1024**2
    turns_max: int = 10_000
    file_max_bytes: int = 128 * 1024**2


class HeldConversation(Protocol):
    """A conversation that nobody else can add to meanwhile."""

    @property
    def conversation(self) -> Conversation:
        """The conversation's current state, appended turns included."""
        ...

    async def append(self, turn: Turn) -> None:
        """Add a turn, wholly or not at all; it is safe from then on.

        Cancelled, it ends what it does before it passes the cancellation on.

        Raises:
            HoldLostError: the hold ended before, so the turn was not added.
            StoreError: it was not added, as far as this side can know.
        """
        ...


class ArrivedFile(Protocol):
    """A file whose content the store has, and which is not yet one of the conversation's."""

    @property
    def file(self) -> StoredFile:
        """What it will be."""
        ...

    async def keep(self) -> None:
        """Make it one of the conversation's, in place of one of that name."""
        ...

    async def discard(self) -> None:
        """Let go of it, if it was not kept."""
        ...


class ConversationStore(Protocol):
    """Conversations, shared by all workers that open the same store.

    Every method raises a StoreError when the store does not do its part. Those that name a
    conversation raise ConversationNotFoundError if the owner has none of that id.
    """

    async def identifier_key(self) -> IdentifierKey:
        """The key of the pool identifiers: made by the first call, the same for all later ones."""
        ...

    async def check(self) -> None:
        """Find out whether the store does its part now; nothing is answered from memory."""
        ...

    def start(self, owner: Owner) -> AbstractAsyncContextManager[HeldConversation]:
        """A new conversation, held for its first turn; it is empty, so nothing is read."""
        ...

    async def get(self, owner: Owner, conversation_id: str) -> Conversation:
        """A conversation to look at."""
        ...

    def hold(
        self, owner: Owner, conversation_id: str, share: Share | None = None
    ) -> AbstractAsyncContextManager[HeldConversation]:
        """The conversation for one turn, alone, across all workers.

        The hold of a worker that died ends by itself. Of each turn there is what the next one
        needs: its messages, and its files' addresses. One task may enter it and another leave it.

        Args:
            owner: whose.
            conversation_id: which.
            share: of the request; gets what a long history takes while it is read. The caller says
                what is left of it.

        Raises:
            AppBusyError: other requests have the memory.
            ConversationBusyError: another turn holds it.
            InvalidRequestError: it has as many turns as a conversation may have.
        """
        ...

    async def list_conversations(
        self, owner: Owner, limit: int, cursor: str | None = None
    ) -> ConversationPage:
        """The conversations of an owner who has signed in, newest first.

        It costs the same however many there are. A conversation that is gone on with meanwhile is
        among the newest then, and may be missed or seen twice by who reads on.

        Args:
            owner: whose.
            limit: how many at most.
            cursor: of the page before; without it the newest ones.

        Raises:
            InvalidRequestError: no page gave this cursor.
        """
        ...

    async def delete(self, owner: Owner, conversation_id: str) -> None:
        """Remove history and files.

        Raises:
            ConversationBusyError: a turn is running.
        """
        ...

    async def receive_file(
        self, owner: Owner, conversation_id: str, name: str, content: AsyncIterator[bytes]
    ) -> ArrivedFile:
        """Take the content of a file, to be kept or discarded.

        Raises:
            InvalidRequestError: no file may be called so.
            PayloadTooLargeError: the content is longer than a file may be.
        """
        ...

    async def put_file(
        self, owner: Owner, conversation_id: str, name: str, content: AsyncIterator[bytes]
    ) -> StoredFile:
        """Keep a file, in place of one of that name; the old one stays until all has arrived.

        Raises:
            InvalidRequestError: no file may be called so.
            PayloadTooLargeError: the content is longer than a file may be.
        """
        ...

    async def list_files(self, owner: Owner, conversation_id: str) -> list[StoredFile]:
        """The kept files, by name."""
        ...

    def open_file(
        self, owner: Owner, conversation_id: str, name: str
    ) -> AbstractAsyncContextManager[tuple[StoredFile, AsyncIterator[bytes]]]:
        """A kept file and its content, as it is read.

        Raises:
            FileNotStoredError: there is none of that name.
        """
        ...

    async def delete_file(self, owner: Owner, conversation_id: str, name: str) -> None:
        """Remove a kept file.

        Raises:
            FileNotStoredError: there is none of that name.
        """
        ...


async def open_store(
    url: str, http: aiohttp.ClientSession, token: TokenProvider, limits: Limits | None = None
) -> ConversationStore:
    """The store at `url`; no request is made yet, and nothing of it has to be closed.

    Args:
        url: `https://<account>.blob.core.windows.net/<container>`, or `file:<folder>`.
        http: an open client that outlives this; a folder needs none, nor a token.
        token: for Azure Blob, where the app's identity needs the role Storage Blob Data
            Contributor on the container.
        limits: others than the default ones.

    Raises:
        SettingsError: the URL is neither.
    """
    parts = urlsplit(url)
    has_path = bool(parts.path.strip("/"))
    is_folder = parts.scheme == "file" and not parts.netloc
    is_container = parts.scheme == "https" and parts.hostname and not parts.query
    if not has_path or not (is_folder or is_container):
        raise SettingsError(
            "CONVERSATIONS_URL must be https://<account>.blob.core.windows.net/<container> without "
            "a SAS token, or file:<folder>."
        )
    module = await asyncio.to_thread(import_module, _STORES[parts.scheme])
    store: ConversationStore = module.open_store(url, http, token, limits)
    return store


def new_conversation_id() -> str:
    """An id that nobody can guess."""
    return secrets.token_hex(16)


def check_conversation_id(conversation_id: str) -> None:
    """Refuse an invalid id before it becomes part of a path.

    Raises:
        ConversationNotFoundError: the server makes no such ids.
    """
    if not re.fullmatch("[0-9a-f]{32}", conversation_id):
        raise no_such_conversation()


def no_such_conversation() -> ConversationNotFoundError:
    """The error for an id that the owner has no conversation with."""
    return ConversationNotFoundError(
        "You have no conversation with this id; it may have been deleted. "
        "Start a new one, and use the conversation_id of its first answer."
    )


def conversation_busy() -> ConversationBusyError:
    """The error for a second caller while a turn runs."""
    return ConversationBusyError(
        "Wait until its answer is complete, then send the next question.",
        retry_after_s=BUSY_RETRY_AFTER_S,
    )


def unknown_cursor() -> InvalidRequestError:
    """The error for a cursor that no page gave."""
    return InvalidRequestError(
        "`cursor` must be the next_cursor of an earlier page. Leave it out to begin with the "
        "newest conversations.",
        field="cursor",
    )


def check_room(conversation: Conversation, limits: Limits) -> None:
    """Refuse a turn that the conversation cannot take before it has cost anything.

    Raises:
        InvalidRequestError: the conversation has `turns_max` turns.
    """
    if conversation.turn_count >= limits.turns_max:
        raise InvalidRequestError(
            f"The conversation has {conversation.turn_count:,} turns, the most that it may have. "
            "Start a new one.",
            field="conversation_id",
        )


def file_not_stored() -> FileNotStoredError:
    """The error for a file that was never uploaded, or was deleted."""
    return FileNotStoredError("The conversation has no file of that name. List its files.")


async def in_blocks(
    content: AsyncIterator[bytes], block_bytes: int, max_bytes: int
) -> AsyncIterator[bytes]:
    """The same content in blocks of one length (the last one shorter), as long as it may be.

    Raises:
        PayloadTooLargeError: there is more than `max_bytes`.
    """
    buffer, total = bytearray(), 0
    async for chunk in content:
        total += len(chunk)
        if total > max_bytes:
            raise PayloadTooLargeError(f"A file may have at most {max_bytes:,} bytes.")
        buffer += chunk
        while len(buffer) >= block_bytes:
            yield bytes(buffer[:block_bytes])
            del buffer[:block_bytes]
    if buffer:
        yield bytes(buffer)


def identifier_key_of(secret: bytes) -> IdentifierKey:
    """The key as it is stored.

    Raises:
        StoreError: somebody put something else there.
    """
    try:
        return IdentifierKey(secret)
    except ValueError as error:
        raise StoreError(
            f"{KEY_NAME} in the conversations' store is not a key. Delete it: a new one is made, "
            "and every conversation gets a new session."
        ) from error
