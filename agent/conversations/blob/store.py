"""Conversations in an Azure Blob container, shared by all instances of the app.

    pool-identifier-key
    <owner>/recent/…                          who signs in: a list of them (recent.py)
    <owner>/<conversation id>/turns.jsonl     append blob: one block, one line per turn
                             /files/<name>    block blob

A turn is one append block: it is there wholly or not at all. What runs is held, and only who holds
a conversation can add to it (hold.py).
"""

import base64
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final

import aiohttp

from agent.conversations.blob.container import Container, Part
from agent.conversations.blob.hold import HOLD_S, Hold
from agent.conversations.blob.recent import RecentConversations
from agent.conversations.file_names import checked_name, name_of_stored, stored_name
from agent.conversations.jsonl import (
    ConversationWriter,
    Decoder,
    conversation_of,
    make_room,
    read_newest,
    title_in,
    title_of,
    unreadable,
)
from agent.conversations.owner import KEY_BYTES, IdentifierKey, Owner
from agent.conversations.records import (
    Conversation,
    ConversationPage,
    ConversationSummary,
    StoredFile,
    Turn,
)
from agent.conversations.remembered import RememberedConversations
from agent.conversations.shielding import shielded
from agent.conversations.store import (
    KEY_NAME,
    HeldConversation,
    Limits,
    check_conversation_id,
    check_room,
    file_not_stored,
    identifier_key_of,
    in_blocks,
    new_conversation_id,
    no_such_conversation,
)
from agent.errors import ConversationUnreadableError, FileNotStoredError
from agent.frozen import frozen
from agent.media_types import media_type_of
from agent.memory import Share
from agent.tokens import TokenProvider

FORMAT: Final = "1"
# Most histories are read by the first call; a longer one costs a second call for its end.
_FIRST_READ_BYTES: Final = 256 * 1024
# What of a file is in memory at once.
_BLOCK_BYTES: Final = 4 * 1024**2
_HISTORY: Final = "turns.jsonl"


def open_store(
    url: str, http: aiohttp.ClientSession, token: TokenProvider, limits: Limits | None
) -> "BlobStore":
    """The store in the container at `url`; no request is made yet."""
    return BlobStore(Container(url, http, token), limits)


@frozen
class _Left:
    """A history as a turn left it.

    Attributes:
        etag: which it has until somebody changes it.
        metadata: that it has, but for who holds it.
        title: of the conversation, where a list shows it.
    """

    etag: str
    metadata: Mapping[str, str]
    title: str


class BlobStore:
    """Conversations in one container, which exists."""

    def __init__(
        self, container: Container, limits: Limits | None = None, *, hold_s: float = HOLD_S
    ) -> None:
        """Prepare; nothing is sent.

        Args:
            container: where they are.
            limits: others than the default ones.
            hold_s: how long a conversation stays held by a worker that died.
        """
        self._container = container
        self._recent = RecentConversations(container)
        self._hold_s = hold_s
        self._decoder = Decoder()
        self._limits = limits or Limits()
        self._key: IdentifierKey | None = None
        self._remembered = RememberedConversations[_Left](self._limits.hold_max_bytes)

    def __repr__(self) -> str:
        return f"<BlobStore {self._container}>"

    async def identifier_key(self) -> IdentifierKey:
        """See ConversationStore."""
        if self._key is None:
            self._key = identifier_key_of(await self._read_or_make_key())
        return self._key

    async def check(self) -> None:
        """See ConversationStore."""
        identifier_key_of(await self._read_or_make_key())

    @contextlib.asynccontextmanager
    async def start(self, owner: Owner) -> AsyncIterator[HeldConversation]:
        """See ConversationStore."""
        conversation = Conversation(new_conversation_id(), owner, datetime.now(UTC))
        metadata = {"format": FORMAT, "created_at": conversation.created_at.isoformat()}
        async with self._hold(owner, conversation.id) as hold:
            await hold.make(metadata, "application/jsonl")
            async with self._turn(hold, conversation, 0, "", is_new=True) as held:
                yield held

    async def get(self, owner: Owner, conversation_id: str) -> Conversation:
        """See ConversationStore."""
        first = await self._read_first(owner, conversation_id)
        return await self._read(owner, conversation_id, first, self._limits.get_max_bytes)

    @contextlib.asynccontextmanager
    async def hold(
        self, owner: Owner, conversation_id: str, share: Share | None = None
    ) -> AsyncIterator[HeldConversation]:
        """See ConversationStore."""
        async with self._hold(owner, conversation_id) as hold:
            known = self._remembered.take(hold.blob)
            if known and await hold.take_again(
                known.mark.etag, known.mark.metadata, known.size_bytes
            ):
                before, size_bytes, title = known.conversation, known.size_bytes, known.mark.title
            else:
                if known:
                    self._remembered.is_elsewhere_too(hold.blob)
                first = await self._read_first(owner, conversation_id)
                await hold.take(first)
                before = await self._read(
                    owner,
                    conversation_id,
                    first,
                    self._limits.hold_max_bytes,
                    share=share,
                    whole=False,
                )
                size_bytes = first.size_bytes
                title = "" if owner.is_anonymous else title_in(first.content)
            check_room(before, self._limits)
            async with self._turn(hold, before, size_bytes, title) as held:
                yield held

    @contextlib.asynccontextmanager
    async def _turn(
        self,
        hold: Hold,
        before: Conversation,
        size_bytes: int,
        title: str,
        *,
        is_new: bool = False,
    ) -> AsyncIterator[HeldConversation]:
        """The conversation, which is ours; listed and remembered as its turn left it."""

        async def write(turn: Turn, data: bytes, at: int) -> _Left | None:
            nonlocal title
            etag = await shielded(hold.append(data, at))
            if at == 0:
                title = title_of(turn.input)
            return _Left(etag, hold.metadata, title) if etag else None

        with ConversationWriter(before, size_bytes, self._limits.turn_max_bytes, write) as held:
            try:
                yield held
            finally:
                self._remembered.put(hold.blob, held.left)
                now = held.conversation
                if is_new or now.turn_count > before.turn_count:
                    listed_at = None if is_new else _updated_at(before)
                    listing = self._recent.put(now.owner, _summary(now, title), listed_at)
                    await shielded(listing)

    async def _read_first(self, owner: Owner, conversation_id: str) -> Part:
        return await self._container.read(
            self._history(owner, conversation_id), 0, _FIRST_READ_BYTES
        )

    async def _read(
        self,
        owner: Owner,
        conversation_id: str,
        first: Part,
        max_bytes: int,
        *,
        share: Share | None = None,
        whole: bool = True,
    ) -> Conversation:
        if first.reply.headers.get("x-ms-blob-type") != "AppendBlob":
            raise unreadable("it is not an append blob")

        async def read(start: int, end: int) -> bytes:
            beginning = first.content[start:end]
            if start + len(beginning) == end:
                return beginning
            rest_start = start + len(beginning)
            rest = await self._container.read(first.blob, rest_start, end - rest_start)
            return beginning + rest.content

        await make_room(share, first.size_bytes, max_bytes)
        newest_lines = await read_newest(read, first.size_bytes, max_bytes)
        lines = await self._decoder.decode(newest_lines, whole=whole)
        created_at = _created_at(first.reply.metadata)
        return conversation_of(conversation_id, owner, created_at, lines)

    def _hold(self, owner: Owner, conversation_id: str) -> Hold:
        return Hold(self._container, self._history(owner, conversation_id), self._hold_s)

    async def delete(self, owner: Owner, conversation_id: str) -> None:
        """See ConversationStore."""
        async with self._hold(owner, conversation_id) as hold:
            self._remembered.take(hold.blob)
            first = await self._read_first(owner, conversation_id)
            await hold.take(first)
            # The files first: if this breaks off, the conversation is there to be deleted again.
            for file in await self.list_files(owner, conversation_id):
                with contextlib.suppress(FileNotStoredError):
                    path = self._file(owner, conversation_id, file.name)
                    await self._container.request("DELETE", path, missing=file_not_stored())
            # Whatever is there can be deleted, also what is no conversation.
            with contextlib.suppress(ConversationUnreadableError):
                listed = await self._read(
                    owner, conversation_id, first, self._limits.hold_max_bytes
                )
                await self._recent.remove(owner, conversation_id, _updated_at(listed))
            await hold.delete()

    async def list_conversations(
        self, owner: Owner, limit: int, cursor: str | None = None
    ) -> ConversationPage:
        """See ConversationStore."""
        return await self._recent.page(owner, limit, cursor)

    async def receive_file(
        self, owner: Owner, conversation_id: str, name: str, content: AsyncIterator[bytes]
    ) -> "_ArrivedFile":
        """See ConversationStore."""
        name = checked_name(name)
        await self._check_exists(owner, conversation_id)
        blob = self._file(owner, conversation_id, name)
        blocks: list[str] = []
        # Blocks of two uploads of one name at a time are not mixed.
        upload = secrets.token_hex(8)
        size_bytes = 0
        # Blocks that are never committed are discarded by Azure after a week.
        async for data in in_blocks(content, _BLOCK_BYTES, self._limits.file_max_bytes):
            blocks.append(base64.b64encode(f"{upload}-{len(blocks):06}".encode()).decode())
            parameters = {"blockid": blocks[-1]}
            await self._container.request("PUT", blob, "block", parameters=parameters, body=data)
            size_bytes += len(data)
        file = StoredFile(name, size_bytes, media_type_of(name))
        check = partial(self._check_exists, owner, conversation_id)
        return _ArrivedFile(self._container, blob, blocks, file, check)

    async def put_file(
        self, owner: Owner, conversation_id: str, name: str, content: AsyncIterator[bytes]
    ) -> StoredFile:
        """See ConversationStore."""
        arrived = await self.receive_file(owner, conversation_id, name, content)
        await arrived.keep()
        return arrived.file

    async def list_files(self, owner: Owner, conversation_id: str) -> list[StoredFile]:
        """See ConversationStore."""
        history = self._history(owner, conversation_id)
        folder = history.removesuffix(_HISTORY)
        # All that the conversation has: one call says whether there is one, and its files.
        blobs = {blob.name: blob for blob in await self._container.all_blobs(folder)}
        if history not in blobs:
            raise no_such_conversation()
        return [
            StoredFile(name, blob.size_bytes, media_type_of(name), blob.modified_at)
            for path, blob in blobs.items()
            if path.startswith(f"{folder}files/")
            for name in [name_of_stored(path.removeprefix(f"{folder}files/"))]
        ]

    @contextlib.asynccontextmanager
    async def open_file(
        self, owner: Owner, conversation_id: str, name: str
    ) -> AsyncIterator[tuple[StoredFile, AsyncIterator[bytes]]]:
        """See ConversationStore."""
        name = checked_name(name)
        blob = self._file(owner, conversation_id, name)

        async def part(start: int, etag: str = "") -> Part:
            async with self._file_call(owner, conversation_id):
                return await self._container.read(
                    blob, start, _BLOCK_BYTES, etag=etag, missing=file_not_stored()
                )

        first = await part(0)

        async def chunks() -> AsyncIterator[bytes]:
            at, chunk = 0, first.content
            while chunk:
                yield chunk
                at += len(chunk)
                if at >= first.size_bytes:
                    return
                chunk = (await part(at, first.reply.headers.get("etag", ""))).content

        yield StoredFile(name, first.size_bytes, media_type_of(name)), chunks()

    async def delete_file(self, owner: Owner, conversation_id: str, name: str) -> None:
        """See ConversationStore."""
        name = checked_name(name)
        path = self._file(owner, conversation_id, name)
        async with self._file_call(owner, conversation_id):
            await self._container.request("HEAD", path, missing=file_not_stored())
        # It was there: that it is not is our own doing, whose answer was lost.
        with contextlib.suppress(FileNotStoredError):
            await self._container.request("DELETE", path, missing=file_not_stored())

    async def _read_or_make_key(self) -> bytes:
        read = partial(self._container.request, "GET", KEY_NAME)
        reply = await read(accepts={"BlobNotFound"})
        if reply.status < 300:
            return reply.body
        # Whoever comes second is refused, and reads the first one's.
        await self._container.request(
            "PUT",
            KEY_NAME,
            headers={"x-ms-blob-type": "BlockBlob", "If-None-Match": "*"},
            body=secrets.token_bytes(KEY_BYTES),
            accepts={"BlobAlreadyExists", "ConditionNotMet"},
        )
        return (await read()).body

    @contextlib.asynccontextmanager
    async def _file_call(self, owner: Owner, conversation_id: str) -> AsyncIterator[None]:
        try:
            yield
        except FileNotStoredError:
            await self._check_exists(owner, conversation_id)
            raise

    async def _check_exists(self, owner: Owner, conversation_id: str) -> None:
        await self._container.request("HEAD", self._history(owner, conversation_id))

    def _history(self, owner: Owner, conversation_id: str) -> str:
        check_conversation_id(conversation_id)
        return f"{owner.folder}/{conversation_id}/{_HISTORY}"

    def _file(self, owner: Owner, conversation_id: str, name: str) -> str:
        check_conversation_id(conversation_id)
        return f"{owner.folder}/{conversation_id}/files/{stored_name(name)}"


class _ArrivedFile:
    """See store.ArrivedFile."""

    def __init__(
        self,
        container: Container,
        blob: str,
        blocks: list[str],
        file: StoredFile,
        check_exists: Callable[[], Awaitable[None]],
    ) -> None:
        self.file = file
        self._container = container
        self._blob = blob
        self._blocks = blocks
        self._check_exists = check_exists

    async def keep(self) -> None:
        """See ArrivedFile."""
        blocks = "".join(f"<Latest>{block}</Latest>" for block in self._blocks)
        await self._container.request(
            "PUT",
            self._blob,
            "blocklist",
            headers={"x-ms-blob-content-type": self.file.media_type},
            body=f'<?xml version="1.0" encoding="utf-8"?><BlockList>{blocks}</BlockList>'.encode(),
        )
        try:
            await self._check_exists()
        except Exception:
            # Deleted meanwhile: the file would stay for ever.
            await self._container.request("DELETE", self._blob)
            raise

    async def discard(self) -> None:
        """See ArrivedFile."""


def _updated_at(conversation: Conversation) -> datetime:
    return conversation.turns[-1].asked_at if conversation.turns else conversation.created_at


def _summary(conversation: Conversation, title: str) -> ConversationSummary:
    return ConversationSummary(
        conversation.id,
        title,
        conversation.created_at,
        _updated_at(conversation),
        conversation.turn_count,
    )


def _created_at(metadata: Mapping[str, str]) -> datetime:
    if metadata.get("format") != FORMAT:
        raise unreadable("its metadata names no format that is known here")
    try:
        return datetime.fromisoformat(metadata.get("created_at", "")).astimezone(UTC)
    except ValueError:
        raise unreadable("its metadata has no created_at") from None
