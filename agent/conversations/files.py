"""The files of a conversation: in its session while that lives, in the store for good."""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

from agent.conversations.owner import Owner
from agent.conversations.store import ConversationStore
from agent.errors import InvalidRequestError
from agent.events import File
from agent.media_types import media_type_of
from agent.session_pool.client import SessionFile, SessionsClient
from agent.turns.files import in_chunks

# A file that code made is stored up to here, so that it outlives the session; a larger one is
# available as long as the session is.
STORED_FILE_MAX_BYTES: Final = 16 * 1024**2


@dataclass(frozen=True, slots=True)
class ConversationKey:
    """A conversation's id and its owner."""

    owner: Owner
    id: str

    def file_url(self, name: str) -> str:
        """The address at which the caller gets one of its files."""
        return f"/api/conversations/{self.id}/files/{quote(name, safe='')}"


class ConversationFiles:
    """The files of a conversation, in its session and in its store: the sink of its turns."""

    limits: Final = "A figure or a file that is kept has up to 16 MB: make it smaller."

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

    async def prepare(self, present: Collection[SessionFile], *, deadline: float) -> bool:
        """Upload the stored files that the session lacks; tells whether there were any."""
        names = {file.name for file in present}
        stored = await self._store.list_files(self._key.owner, self._key.id)
        missing = [file for file in stored if file.name not in names]
        for file in missing:
            await self.upload(file.name, file.size_bytes, deadline=deadline)
        return bool(missing)

    async def upload(self, name: str, size_bytes: int, *, deadline: float) -> None:
        """Upload one stored file to the session."""

        async def content() -> AsyncIterator[bytes]:
            file = self._store.open_file(self._key.owner, self._key.id, name)
            async with file as (_, chunks):
                async for chunk in chunks:
                    yield chunk

        await self._sessions.upload_file(
            self._identifier, name, size_bytes, content, deadline=deadline
        )

    def output_name(self, stem: str, number: int, extension: str) -> str:
        """See FileSink; each turn numbers its own."""
        return f"{stem}-{self._turn_number}-{number}.{extension}"

    async def take_output(self, name: str, media_type: str, content: bytes) -> File | None:
        """Store a figure or a page, if it is not too large."""
        if len(content) > STORED_FILE_MAX_BYTES:
            return None
        await self._store.put_file(self._key.owner, self._key.id, name, in_chunks(content))
        return File(name, media_type, len(content), self._key.file_url(name))

    async def take_file(self, file: SessionFile, *, deadline: float) -> File | None:
        """Store a file that code made, if it is not too large; it has an address either way."""
        reference = File(
            file.name, media_type_of(file.name), file.size_bytes, self._key.file_url(file.name)
        )
        if file.size_bytes > STORED_FILE_MAX_BYTES:
            return reference
        download = self._sessions.open_file(self._identifier, file.name, deadline=deadline)
        async with download as chunks:
            try:
                stored = await self._store.put_file(
                    self._key.owner, self._key.id, file.name, chunks
                )
            except InvalidRequestError:
                return reference  # a name that the pool lists and its upload would refuse
        return replace(reference, size_bytes=stored.size_bytes)
