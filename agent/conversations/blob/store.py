"""Conversations in an Azure Blob container, shared by all instances of the app.

    pool-identifier-key
    <owner>/recent/…                          who signs in: a list of them (recent.py)
    <owner>/<conversation id>/turns.jsonl     append blob: one block, one line per turn
                             /files/<name>    block blob

A turn is one append block: it is there wholly or not at all. What runs is held by a lease on the
history, which Azure ends if nobody renews it, and every append names the lease and the length
that the history must have: whoever lost the hold cannot write, whatever they still believe.
https://learn.microsoft.com/rest/api/storageservices/lease-blob
https://learn.microsoft.com/rest/api/storageservices/append-block
"""

import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.core.pipeline.transport import AsyncHttpTransport, AsyncioRequestsTransport
from azure.storage.blob import BlobBlock, BlobProperties, BlobType, ContentSettings
from azure.storage.blob.aio import BlobClient, BlobLeaseClient, ContainerClient, ExponentialRetry

from agent.conversations.blob.errors import blob_call, code_of
from agent.conversations.blob.lease import LEASE_S, append, leased
from agent.conversations.blob.recent import RecentConversations
from agent.conversations.file_names import checked_name, name_of_stored, stored_name
from agent.conversations.jsonl import (
    ConversationWriter,
    Decoder,
    Line,
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
from agent.media_types import media_type_of
from agent.memory import Share
from agent.telemetry.calls import HttpSpan

FORMAT: Final = "1"
# Most histories are read by the first call; a longer one costs a second call for its end.
_FIRST_READ_BYTES: Final = 256 * 1024
# What of a file is in memory at once.
_BLOCK_BYTES: Final = 4 * 1024**2
_CONNECTION_TIMEOUT_S: Final = 20
_HISTORY: Final = "turns.jsonl"
_OPERATIONS: Final = frozenset(
    {"appendblock", "block", "blocklist", "lease", "list", "metadata", "properties"}
)

type Transport = AsyncHttpTransport[Any, Any]


def open_container(
    url: str, credential: AsyncTokenCredential, transport: Transport | None = None
) -> ContainerClient:
    """A client of the container, to be closed by the caller; the credential stays open.

    Args:
        url: of the container.
        credential: sent to https addresses only; the client refuses others.
        transport: another one than `open_transport()`.
    """
    return ContainerClient.from_container_url(
        url,
        credential,
        transport=transport or open_transport(),
        max_single_get_size=_BLOCK_BYTES,
        max_chunk_get_size=_BLOCK_BYTES,
        # The default waits 15 s before it tries again.
        retry_policy=ExponentialRetry(
            initial_backoff=1, increment_base=1, retry_total=2, random_jitter_range=1
        ),
    )


def open_transport(ca_file: str | None = None) -> Transport:
    """The transport: the `requests` library in threads, as for tokens (agent/credentials.py).

    Args:
        ca_file: certificates to trust instead of the usual ones, for an emulator.
    """
    # azure-core loads its transports by name, so that their types are not known.
    transport: Transport = _RecordedTransport(
        connection_timeout=_CONNECTION_TIMEOUT_S,
        connection_verify=ca_file or True,
        # A hop to a thread per block: the default of 4 KB makes 32,000 of them of 128 MB.
        connection_data_block_size=1024**2,
    )
    return transport


class _RecordedTransport(AsyncioRequestsTransport):  # type: ignore[misc]  # Any to mypy
    """The transport, each of whose requests is a span: the client's own would carry whole URLs."""

    async def send(self, request: Any, **options: Any) -> Any:
        """Called by the client for each attempt."""
        url = urlsplit(request.url)
        # What is asked of a blob or a container: `lease`, `appendblock`; nothing of the caller's.
        operation = dict(parse_qsl(url.query)).get("comp", "")
        template = "/{container}/{blob}" if url.path.count("/") > 1 else "/{container}"
        template += f"?comp={operation}" if operation in _OPERATIONS else ""
        with HttpSpan("store", request.method, template, url.hostname or "") as span:
            response = await super().send(request, **options)
            span.answered(response.status_code)
            return response


@contextlib.asynccontextmanager
async def open_store(
    url: str, credential: AsyncTokenCredential, limits: Limits | None
) -> AsyncIterator["BlobStore"]:
    """The store in the container at `url`, open while the block runs; no request is made yet."""
    async with open_container(url, credential) as container:
        yield BlobStore(container, limits)


@dataclass(frozen=True, slots=True)
class _History:
    """A history as far as it was read.

    Attributes:
        created_at: when the conversation was made.
        lines: the newest ones.
        size_bytes: of all of it.
        start: its first bytes.
    """

    created_at: datetime
    lines: tuple[Line, ...]
    size_bytes: int
    start: bytes


class BlobStore:
    """Conversations in one container, which exists."""

    def __init__(
        self, container: ContainerClient, limits: Limits | None = None, *, lease_s: int = LEASE_S
    ) -> None:
        """Prepare; nothing is sent.

        Args:
            container: an open client that outlives this.
            limits: others than the default ones.
            lease_s: how long a conversation stays held by a worker that died; Azure takes 15 to 60.
        """
        self._container = container
        self._recent = RecentConversations(container)
        self._lease_s = lease_s
        self._decoder = Decoder()
        self._limits = limits or Limits()
        self._key: IdentifierKey | None = None

    def __repr__(self) -> str:
        return f"<BlobStore {self._container.account_name}/{self._container.container_name}>"

    async def identifier_key(self) -> IdentifierKey:
        """See ConversationStore."""
        if self._key is None:
            self._key = identifier_key_of(await self._read_or_make_key())
        return self._key

    async def check(self) -> None:
        """See ConversationStore."""
        identifier_key_of(await self._read_or_make_key())

    async def _create(self, owner: Owner) -> Conversation:
        conversation = Conversation(new_conversation_id(), owner, datetime.now(UTC))
        metadata = {"format": FORMAT, "created_at": conversation.created_at.isoformat()}
        settings = ContentSettings(content_type="application/jsonl")
        async with blob_call():
            await self._history(owner, conversation.id).create_append_blob(settings, metadata)
        return conversation

    @contextlib.asynccontextmanager
    async def start(self, owner: Owner) -> AsyncIterator[HeldConversation]:
        """See ConversationStore."""
        conversation = await self._create(owner)
        blob = self._history(owner, conversation.id)
        async with leased(blob, self._lease_s) as lease:
            with self._held(blob, lease, conversation, 0) as held:
                try:
                    yield held
                finally:
                    now = _summary(held.conversation, b"")
                    await shielded(self._recent.put(owner, now, None))

    async def get(self, owner: Owner, conversation_id: str) -> Conversation:
        """See ConversationStore."""
        blob = self._history(owner, conversation_id)
        read = await self._read(blob, self._limits.get_max_bytes)
        return conversation_of(conversation_id, owner, read.created_at, read.lines)

    @contextlib.asynccontextmanager
    async def hold(
        self, owner: Owner, conversation_id: str, share: Share | None = None
    ) -> AsyncIterator[HeldConversation]:
        """See ConversationStore."""
        blob = self._history(owner, conversation_id)
        async with leased(blob, self._lease_s) as lease:
            read = await self._read(blob, self._limits.hold_max_bytes, share=share, whole=False)
            before = conversation_of(conversation_id, owner, read.created_at, read.lines)
            check_room(before, self._limits)
            with self._held(blob, lease, before, read.size_bytes) as held:
                try:
                    yield held
                finally:
                    now = _summary(held.conversation, read.start)
                    if now.turn_count > before.turn_count:
                        await shielded(self._recent.put(owner, now, _updated_at(before)))

    async def _read(
        self, blob: BlobClient, max_bytes: int, *, share: Share | None = None, whole: bool = True
    ) -> _History:
        first, size_bytes, properties = await _read_first(blob)
        if properties.blob_type != BlobType.APPENDBLOB:
            raise unreadable("it is not an append blob")

        async def read(start: int, end: int) -> bytes:
            beginning = first[start:end]
            if start + len(beginning) == end:
                return beginning
            async with blob_call():
                rest = await blob.download_blob(
                    start + len(beginning), end - start - len(beginning)
                )
                return beginning + await rest.readall()

        await make_room(share, size_bytes, max_bytes)
        newest_lines = await read_newest(read, size_bytes, max_bytes)
        lines = await self._decoder.decode(newest_lines, whole=whole)
        return _History(_created_at(properties.metadata), lines, size_bytes, first)

    def _held(
        self, blob: BlobClient, lease: BlobLeaseClient, conversation: Conversation, size_bytes: int
    ) -> ConversationWriter:
        async def write(_: Turn, data: bytes, at: int) -> None:
            await shielded(append(blob, lease, data, at))

        return ConversationWriter(conversation, size_bytes, self._limits.turn_max_bytes, write)

    async def delete(self, owner: Owner, conversation_id: str) -> None:
        """See ConversationStore."""
        blob = self._history(owner, conversation_id)
        async with leased(blob, self._lease_s) as lease:
            # The files first: if this breaks off, the conversation is there to be deleted again.
            for file in await self.list_files(owner, conversation_id):
                with contextlib.suppress(FileNotStoredError):
                    async with blob_call(missing=file_not_stored()):
                        await self._file(owner, conversation_id, file.name).delete_blob()
            # Whatever is there can be deleted, also what is no conversation.
            with contextlib.suppress(ConversationUnreadableError):
                read = await self._read(blob, self._limits.hold_max_bytes)
                listed = conversation_of(conversation_id, owner, read.created_at, read.lines)
                await self._recent.remove(owner, conversation_id, _updated_at(listed))
            async with blob_call():
                await blob.delete_blob(lease=lease)

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
        blocks: list[BlobBlock] = []
        # Blocks of two uploads of one name at a time are not mixed.
        upload = secrets.token_hex(8)
        size_bytes = 0
        # Blocks that are never committed are discarded by Azure after a week.
        async for data in in_blocks(content, _BLOCK_BYTES, self._limits.file_max_bytes):
            block_id = f"{upload}-{len(blocks):06}"
            async with blob_call():
                await blob.stage_block(block_id, data, len(data))
            blocks.append(BlobBlock(block_id))
            size_bytes += len(data)
        file = StoredFile(name, size_bytes, media_type_of(name))
        check = partial(self._check_exists, owner, conversation_id)
        return _ArrivedFile(blob, blocks, file, check)

    async def put_file(
        self, owner: Owner, conversation_id: str, name: str, content: AsyncIterator[bytes]
    ) -> StoredFile:
        """See ConversationStore."""
        arrived = await self.receive_file(owner, conversation_id, name, content)
        await arrived.keep()
        return arrived.file

    async def list_files(self, owner: Owner, conversation_id: str) -> list[StoredFile]:
        """See ConversationStore."""
        history = self._history(owner, conversation_id).blob_name
        folder = history.removesuffix(_HISTORY)
        # All that the conversation has: one call says whether there is one, and its files.
        async with blob_call():
            listed = self._container.list_blobs(name_starts_with=folder)
            blobs = {blob.name: blob async for blob in listed}
        if history not in blobs:
            raise no_such_conversation()
        return [
            StoredFile(name, blob.size, media_type_of(name), blob.last_modified)
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
        async with self._file_call(owner, conversation_id):
            content = await self._file(owner, conversation_id, name).download_blob()
        file = StoredFile(name, content.size, media_type_of(name))

        async def chunks() -> AsyncIterator[bytes]:
            rest = aiter(content.chunks())
            while True:
                async with self._file_call(owner, conversation_id):
                    chunk = await anext(rest, b"")
                if not chunk:
                    return
                yield chunk

        yield file, chunks()

    async def delete_file(self, owner: Owner, conversation_id: str, name: str) -> None:
        """See ConversationStore."""
        name = checked_name(name)
        async with self._file_call(owner, conversation_id):
            await self._file(owner, conversation_id, name).delete_blob()

    async def _read_or_make_key(self) -> bytes:
        blob = self._container.get_blob_client(KEY_NAME)
        async with blob_call():
            if not await blob.exists():
                # If-None-Match: whoever comes second is refused, and reads the first one's.
                with contextlib.suppress(ResourceExistsError):
                    await blob.upload_blob(secrets.token_bytes(KEY_BYTES), overwrite=False)
            return await (await blob.download_blob()).readall()

    @contextlib.asynccontextmanager
    async def _file_call(self, owner: Owner, conversation_id: str) -> AsyncIterator[None]:
        try:
            async with blob_call(missing=file_not_stored()):
                yield
        except FileNotStoredError:
            await self._check_exists(owner, conversation_id)
            raise

    async def _check_exists(self, owner: Owner, conversation_id: str) -> None:
        async with blob_call():
            exists = await self._history(owner, conversation_id).exists()
        if not exists:
            raise no_such_conversation()

    def _history(self, owner: Owner, conversation_id: str) -> BlobClient:
        check_conversation_id(conversation_id)
        return self._container.get_blob_client(f"{owner.folder}/{conversation_id}/{_HISTORY}")

    def _file(self, owner: Owner, conversation_id: str, name: str) -> BlobClient:
        check_conversation_id(conversation_id)
        path = f"{owner.folder}/{conversation_id}/files/{stored_name(name)}"
        return self._container.get_blob_client(path)


class _ArrivedFile:
    """See store.ArrivedFile."""

    def __init__(
        self,
        blob: BlobClient,
        blocks: list[BlobBlock],
        file: StoredFile,
        check_exists: Callable[[], Awaitable[None]],
    ) -> None:
        self.file = file
        self._blob = blob
        self._blocks = blocks
        self._check_exists = check_exists

    async def keep(self) -> None:
        """See ArrivedFile."""
        settings = ContentSettings(content_type=self.file.media_type)
        async with blob_call():
            await self._blob.commit_block_list(self._blocks, content_settings=settings)
        try:
            await self._check_exists()
        except Exception:
            # Deleted meanwhile: the file would stay for ever.
            async with blob_call():
                await self._blob.delete_blob()
            raise

    async def discard(self) -> None:
        """See ArrivedFile."""


def _updated_at(conversation: Conversation) -> datetime:
    return conversation.turns[-1].asked_at if conversation.turns else conversation.created_at


def _summary(conversation: Conversation, start: bytes) -> ConversationSummary:
    """The conversation in a list; `start` is that of its history before its newest turns."""
    if start:
        title = title_in(start)
    else:
        title = title_of(conversation.turns[0].input) if conversation.turns else ""
    return ConversationSummary(
        conversation.id,
        title,
        conversation.created_at,
        _updated_at(conversation),
        conversation.turn_count,
    )


async def _read_first(blob: BlobClient) -> tuple[bytes, int, BlobProperties]:
    """The first bytes of a blob, its whole length, and its properties."""
    async with blob_call():
        try:
            head = await blob.download_blob(0, _FIRST_READ_BYTES)
            first = await head.readall()
        except HttpResponseError as error:
            if code_of(error) != "InvalidRange":
                raise
            # An empty blob has no range.
            return b"", 0, await blob.get_blob_properties()
    # The length of the blob, not of the range: "bytes 0-9/100".
    return first, int((head.properties.content_range or "").rpartition("/")[2]), head.properties


def _created_at(metadata: Mapping[str, str]) -> datetime:
    if metadata.get("format") != FORMAT:
        raise unreadable("its metadata names no format that is known here")
    try:
        return datetime.fromisoformat(metadata.get("created_at", "")).astimezone(UTC)
    except ValueError:
        raise unreadable("its metadata has no created_at") from None
