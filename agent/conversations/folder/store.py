"""Conversations in a folder on a local disk: for a laptop, without any service.

    <root>/pool-identifier-key
    <root>/<owner>/<conversation id>/conversation.json   its format and when it was made
                                     turns.jsonl         one line per turn
                                     lock                held by flock while a turn runs
                                     files/<name>
                                     arriving/           files on their way

All workers on one machine may share it. Not for network file systems: flock and rename promise less
there. The kernel ends the hold of a process that dies.
"""

import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pydantic import AwareDatetime, BaseModel, ValidationError

from agent.conversations.file_names import checked_name
from agent.conversations.folder.disk import (
    ConversationFolder,
    Lock,
    Mark,
    check_writable,
    read_or_make,
)
from agent.conversations.folder.recent import (
    Place,
    changed_at,
    changed_ns,
    newest,
    title_and_turns,
)
from agent.conversations.jsonl import (
    ConversationWriter,
    Decoder,
    conversation_of,
    make_room,
    read_newest,
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
from agent.conversations.remembered import Remembered, RememberedConversations
from agent.conversations.shielding import in_thread
from agent.conversations.store import (
    KEY_NAME,
    HeldConversation,
    Limits,
    check_conversation_id,
    check_room,
    identifier_key_of,
    in_blocks,
    new_conversation_id,
    unknown_cursor,
)
from agent.errors import ConversationNotFoundError, ConversationUnreadableError
from agent.media_types import media_type_of
from agent.memory import FREE_BYTES, Share

FORMAT: Final = 1
_BLOCK_BYTES: Final = 1024**2


class _Manifest(BaseModel):
    format: int
    created_at: AwareDatetime


def open_store(url: str, http: object, token: object, limits: Limits | None) -> "FolderStore":
    """The store in the folder at `url` (`file:<folder>`); it needs no connection."""
    return FolderStore(Path(url2pathname(urlsplit(url).path)), limits)


class FolderStore:
    """Conversations below one folder, which is made when it is first needed."""

    def __init__(self, root: Path, limits: Limits | None = None) -> None:
        self._root = root
        self._limits = limits or Limits()
        self._key: IdentifierKey | None = None
        self._decoder = Decoder()
        self._remembered = RememberedConversations[Mark](self._limits.hold_max_bytes)

    def __repr__(self) -> str:
        return f"<FolderStore {self._root}>"

    async def identifier_key(self) -> IdentifierKey:
        """See ConversationStore."""
        if self._key is None:
            self._key = await self._read_or_make_key()
        return self._key

    async def check(self) -> None:
        """See ConversationStore."""
        await self._read_or_make_key()
        await in_thread(lambda: check_writable(self._root))

    async def _read_or_make_key(self) -> IdentifierKey:
        path, secret = self._root / KEY_NAME, secrets.token_bytes(KEY_BYTES)
        return identifier_key_of(await in_thread(lambda: read_or_make(path, secret)))

    @contextlib.asynccontextmanager
    async def start(self, owner: Owner) -> AsyncIterator[HeldConversation]:
        """See ConversationStore."""
        conversation = Conversation(new_conversation_id(), owner, datetime.now(UTC))
        manifest = _Manifest(format=FORMAT, created_at=conversation.created_at)
        folder = self._folder(owner, conversation.id)
        with Lock(folder) as lock:
            await in_thread(lambda: folder.make(manifest.model_dump_json().encode(), lock))
            with self._turn(folder, conversation, 0) as held:
                yield held

    async def get(self, owner: Owner, conversation_id: str) -> Conversation:
        """See ConversationStore."""
        folder = self._folder(owner, conversation_id)
        return (await self._read(folder, owner, self._limits.get_max_bytes))[0]

    @contextlib.asynccontextmanager
    async def hold(
        self, owner: Owner, conversation_id: str, share: Share | None = None
    ) -> AsyncIterator[HeldConversation]:
        """See ConversationStore."""
        folder = self._folder(owner, conversation_id)
        known = self._remembered.take(str(folder.path))
        with Lock(folder) as lock:
            conversation, size_bytes = await self._read(
                folder,
                owner,
                self._limits.hold_max_bytes,
                lock=lock,
                known=known,
                share=share,
                whole=False,
            )
            check_room(conversation, self._limits)
            with self._turn(folder, conversation, size_bytes) as held:
                yield held

    async def _read(
        self,
        folder: ConversationFolder,
        owner: Owner,
        max_bytes: int,
        *,
        lock: Lock | None = None,
        known: Remembered[Mark] | None = None,
        share: Share | None = None,
        whole: bool = True,
    ) -> tuple[Conversation, int]:
        """The conversation, and how many bytes its history has.

        Args:
            folder: of the conversation.
            owner: whose it is.
            max_bytes: of the history that is read.
            lock: taken before, in the same thread: a way there and back costs as much as a read.
            known: is read no more if nobody has changed it since.
            share: see `hold`.
            whole: see Decoder.
        """

        def begin() -> tuple[bytes, int, bytes, int] | Remembered[Mark]:
            if lock:
                lock.acquire()
            if known and folder.history_mark() == known.mark:
                return known
            manifest, size_bytes = folder.read_manifest(), folder.history_size()
            # As much as `read_newest` asks for at first, nearly always; more has to be waited for.
            start = max(0, size_bytes - min(max_bytes, FREE_BYTES) - 1)
            return manifest, size_bytes, folder.read_history(start, size_bytes), start

        begun = await in_thread(begin)
        if isinstance(begun, Remembered):
            return begun.conversation, begun.size_bytes
        manifest, size_bytes, end, end_start = begun

        async def read(start: int, stop: int) -> bytes:
            if start >= end_start:
                return end[start - end_start : stop - end_start]
            return await in_thread(lambda: folder.read_history(start, stop))

        await make_room(share, size_bytes, max_bytes)
        newest_lines = await read_newest(read, size_bytes, max_bytes)
        lines = await self._decoder.decode(newest_lines, whole=whole)
        created_at = _created_at(manifest)
        return conversation_of(folder.path.name, owner, created_at, lines), size_bytes

    @contextlib.contextmanager
    def _turn(
        self, folder: ConversationFolder, conversation: Conversation, size_bytes: int
    ) -> Iterator[HeldConversation]:
        """The conversation, which is ours; remembered as its turn left it."""

        async def write(turn: Turn, data: bytes, at: int) -> Mark:
            changed = changed_ns(turn.asked_at)
            return await in_thread(lambda: folder.append_history(data, at, changed))

        with ConversationWriter(
            conversation, size_bytes, self._limits.turn_max_bytes, write
        ) as held:
            try:
                yield held
            finally:
                self._remembered.put(str(folder.path), held.left)

    async def list_conversations(
        self, owner: Owner, limit: int, cursor: str | None = None
    ) -> ConversationPage:
        """See ConversationStore."""
        before = _place_of(cursor) if cursor else None
        return await in_thread(lambda: self._page(owner, limit, before))

    def _page(self, owner: Owner, limit: int, before: Place | None) -> ConversationPage:
        places = newest(self._root / owner.folder, limit + 1, before)
        found = []
        for place in places[:limit]:
            folder = self._folder(owner, place[1])
            # Deleted meanwhile, or not ours: whoever asks for it is told.
            with contextlib.suppress(ConversationNotFoundError, ConversationUnreadableError):
                created_at = _created_at(folder.read_manifest())
                title, turns = title_and_turns(folder)
                found.append(
                    ConversationSummary(place[1], title, created_at, changed_at(place), turns)
                )
        more = len(places) > limit
        return ConversationPage(tuple(found), "{}-{}".format(*places[limit - 1]) if more else None)

    async def delete(self, owner: Owner, conversation_id: str) -> None:
        """See ConversationStore."""
        folder = self._folder(owner, conversation_id)
        self._remembered.take(str(folder.path))
        with Lock(folder) as lock:
            await in_thread(lock.acquire)
            await in_thread(folder.delete)

    async def receive_file(
        self, owner: Owner, conversation_id: str, name: str, content: AsyncIterator[bytes]
    ) -> "_ArrivedFile":
        """See ConversationStore."""
        name = checked_name(name)
        folder = self._folder(owner, conversation_id)
        arrival = await in_thread(folder.open_arrival)
        size_bytes = 0
        try:
            async for block in in_blocks(content, _BLOCK_BYTES, self._limits.file_max_bytes):
                await in_thread(partial(folder.write, arrival, block))
                size_bytes += len(block)
        except BaseException:
            await in_thread(lambda: folder.discard(arrival))
            raise
        return _ArrivedFile(folder, arrival, StoredFile(name, size_bytes, media_type_of(name)))

    async def put_file(
        self, owner: Owner, conversation_id: str, name: str, content: AsyncIterator[bytes]
    ) -> StoredFile:
        """See ConversationStore."""
        arrived = await self.receive_file(owner, conversation_id, name, content)
        try:
            await arrived.keep()
        except BaseException:
            await arrived.discard()
            raise
        return arrived.file

    async def list_files(self, owner: Owner, conversation_id: str) -> list[StoredFile]:
        """See ConversationStore."""
        folder = self._folder(owner, conversation_id)
        files = await in_thread(folder.files)
        return [
            StoredFile(name, size_bytes, media_type_of(name), modified_at)
            for name, size_bytes, modified_at in files
        ]

    @contextlib.asynccontextmanager
    async def open_file(
        self, owner: Owner, conversation_id: str, name: str
    ) -> AsyncIterator[tuple[StoredFile, AsyncIterator[bytes]]]:
        """See ConversationStore."""
        name = checked_name(name)
        folder = self._folder(owner, conversation_id)
        with await in_thread(lambda: folder.open_file(name)) as file:
            size_bytes = os.fstat(file.fileno()).st_size
            yield StoredFile(name, size_bytes, media_type_of(name)), _blocks_of(file)

    async def delete_file(self, owner: Owner, conversation_id: str, name: str) -> None:
        """See ConversationStore."""
        name = checked_name(name)
        folder = self._folder(owner, conversation_id)
        await in_thread(lambda: folder.delete_file(name))

    def _folder(self, owner: Owner, conversation_id: str) -> ConversationFolder:
        check_conversation_id(conversation_id)
        return ConversationFolder(self._root / owner.folder / conversation_id)


class _ArrivedFile:
    """See store.ArrivedFile."""

    def __init__(self, folder: ConversationFolder, arrival: BinaryIO, file: StoredFile) -> None:
        self.file = file
        self._folder = folder
        self._arrival = arrival

    async def keep(self) -> None:
        """See ArrivedFile."""
        await in_thread(lambda: self._folder.take_in(self._arrival, self.file.name))

    async def discard(self) -> None:
        """See ArrivedFile."""
        await in_thread(lambda: self._folder.discard(self._arrival))


def _place_of(cursor: str) -> Place:
    changed, _, conversation_id = cursor.partition("-")
    if not (changed.isascii() and changed.isdigit() and len(changed) < 20):
        raise unknown_cursor()
    return int(changed), conversation_id


def _created_at(data: bytes) -> datetime:
    try:
        manifest = _Manifest.model_validate_json(data)
    except ValidationError:
        raise unreadable("conversation.json") from None
    if manifest.format != FORMAT:
        raise unreadable(f"format {manifest.format}")
    return manifest.created_at


async def _blocks_of(file: BinaryIO) -> AsyncIterator[bytes]:
    while block := await in_thread(lambda: file.read(_BLOCK_BYTES)):
        yield block
