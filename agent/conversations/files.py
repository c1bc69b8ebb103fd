"""The files of a conversation: in its session while that lives, in the store for good."""

import contextlib
import re
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final
from urllib.parse import quote

from agent.conversations.owner import Owner
from agent.conversations.records import StoredFile
from agent.conversations.store import ConversationStore
from agent.errors import (
    FileNotStoredError,
    InvalidRequestError,
    PoolFailedError,
    PoolRefusedError,
)
from agent.events import File
from agent.frozen import frozen
from agent.media_types import media_type_of
from agent.session_pool.client import SessionsClient
from agent.session_pool.survey import SessionFile
from agent.telemetry import logger
from agent.turns.files import Prepared, in_chunks

# A file that code made is stored up to here, so that it outlives the session; a larger one is
# available as long as the session is.
STORED_FILE_MAX_BYTES: Final = 16 * 1024**2
# All files of a conversation: a session has to hold them, and what code makes of them.
FILES_MAX_BYTES: Final = 200 * 1024**2
FILES_MAX: Final = 1000
# What cells showed and did not save: kept for the caller, of no use in a session.
_SHOWN: Final = re.compile(r"(?:image|output)-\d+-\d+\.(?:png|jpeg|gif|webp|svg|html)")
# Two clocks may differ by so much.
_CLOCKS_DIFFER: Final = timedelta(seconds=2)


@frozen
class ConversationKey:
    """A conversation's id and its owner."""

    owner: Owner
    id: str

    def file_url(self, name: str) -> str:
        """The address at which the caller gets one of its files."""
        return f"/api/conversations/{self.id}/files/{quote(name, safe='/')}"


class ConversationFiles:
    """The files of a conversation, in its session and in its store: the sink of its turns."""

    limits: Final = (
        "A conversation keeps figures and files of up to 16 MB, together 200 MB and 1,000: make it "
        "smaller, or delete others."
    )

    def __init__(
        self,
        store: ConversationStore,
        key: ConversationKey,
        sessions: SessionsClient,
        identifier: str,
        turn_number: int,
    ) -> None:
        self._store = store
        self._key = key
        self._sessions = sessions
        self._identifier = identifier
        self._turn_number = turn_number
        # Names and sizes, as the store had them last; None before it was asked.
        self._stored: dict[str, int] | None = None

    async def prepare(self, present: Collection[SessionFile], *, deadline: float) -> Prepared:
        """Upload the stored files that the session lacks."""
        there = {file.name: file for file in present}
        stored = await self._store.list_files(self._key.owner, self._key.id)
        self._stored = {file.name: file.size_bytes for file in stored}
        missing = [file for file in stored if _is_missing(file, there.get(file.name))]
        moves: list[tuple[str, str]] = []
        failed: list[str] = []
        for file in missing:
            try:
                move = await self._send(file.name, file.size_bytes, deadline=deadline)
            except (PoolRefusedError, PoolFailedError) as error:
                # A session that is full must not end every turn for ever.
                logger.warning("a file of the conversation not put back: %s", error.code)
                failed.append(file.name)
            else:
                moves += [move] if move else []
        return Prepared(len(missing) - len(failed), tuple(moves), tuple(failed))

    async def _sizes(self) -> dict[str, int]:
        if self._stored is None:
            stored = await self._store.list_files(self._key.owner, self._key.id)
            self._stored = {file.name: file.size_bytes for file in stored}
        return self._stored

    async def _has_room(self, name: str, size_bytes: int) -> bool:
        if size_bytes > STORED_FILE_MAX_BYTES:
            return False
        sizes = await self._sizes()
        others = sum(sizes.values()) - sizes.get(name, 0)
        return others + size_bytes <= FILES_MAX_BYTES and len(sizes.keys() | {name}) <= FILES_MAX

    async def forget(self, names: Collection[str]) -> None:
        """Remove files that code removed."""
        sizes = await self._sizes() if names else {}
        for name in sizes.keys() & set(names):
            del sizes[name]
            with contextlib.suppress(FileNotStoredError, InvalidRequestError):
                await self._store.delete_file(self._key.owner, self._key.id, name)

    def is_kept(self, name: str) -> bool:
        """See FileSink."""
        return name in (self._stored or {})

    async def upload(self, name: str, size_bytes: int, *, deadline: float) -> None:
        """Upload one stored file to the session."""
        await self._sessions.upload_file(
            self._identifier, name, size_bytes, partial(self._content, name), deadline=deadline
        )

    async def _send(self, name: str, size_bytes: int, *, deadline: float) -> tuple[str, str] | None:
        return await self._sessions.send_file(
            self._identifier, name, size_bytes, partial(self._content, name), deadline=deadline
        )

    async def _content(self, name: str) -> AsyncIterator[bytes]:
        file = self._store.open_file(self._key.owner, self._key.id, name)
        async with file as (_, chunks):
            async for chunk in chunks:
                yield chunk

    def output_name(self, stem: str, number: int, extension: str) -> str:
        """See FileSink; each turn numbers its own."""
        return f"{stem}-{self._turn_number}-{number}.{extension}"

    async def take_output(self, name: str, media_type: str, content: bytes) -> File | None:
        """Store a figure or a page, if it is not too large."""
        if not await self._has_room(name, len(content)):
            return None
        await self._store.put_file(self._key.owner, self._key.id, name, in_chunks(content))
        (await self._sizes())[name] = len(content)
        return File(name, media_type, len(content), self._key.file_url(name))

    async def take_file(self, file: SessionFile, *, deadline: float) -> File | None:
        """Store a file that code made, if it is not too large; it has an address either way."""
        reference = File(
            file.name, media_type_of(file.name), file.size_bytes, self._key.file_url(file.name)
        )
        if not await self._has_room(file.name, file.size_bytes):
            # An older content must not come back in its place.
            await self.forget([file.name])
            return reference
        download = self._sessions.open_file(self._identifier, file.name, deadline=deadline)
        async with download as chunks:
            try:
                stored = await self._store.put_file(
                    self._key.owner, self._key.id, file.name, chunks
                )
            except InvalidRequestError:
                return reference  # a path that is too long for the store
        (await self._sizes())[stored.name] = stored.size_bytes
        return replace(reference, size_bytes=stored.size_bytes)

    async def take_content(self, name: str, content: bytes) -> File | None:
        """Store a file that was put into the session; like `take_file`, it has an address."""
        media_type = media_type_of(name)
        taken = await self.take_output(name, media_type, content)
        return taken or File(name, media_type, len(content), self._key.file_url(name))


def _is_missing(stored: StoredFile, there: SessionFile | None) -> bool:
    """Whether a session lacks a file, or has an older one: its upload did not get through."""
    if _SHOWN.fullmatch(stored.name):
        return False
    if there is None:
        return True
    return (
        there.size_bytes != stored.size_bytes
        and stored.modified_at is not None
        and stored.modified_at > there.modified_at + _CLOCKS_DIFFER
    )
