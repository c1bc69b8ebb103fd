"""Files that a turn's code makes: noticed in the session, brought to the caller.

The model never reads them; it is told their names. A stateless turn gives its session back, so
its files travel in the answer as data: URLs; those of a conversation are kept and have an address.
"""

import base64
from collections.abc import AsyncIterator, Collection
from typing import Final, Protocol

from agent.events import File
from agent.media_types import media_type_of
from agent.session_pool.client import SessionFile, SessionsClient

# What one answer may carry inside; more needs a conversation.
INLINE_MAX_BYTES: Final = 1024**2


class FileSink(Protocol):
    """The destination of a turn's files."""

    async def prepare(self, present: Collection[SessionFile], *, deadline: float) -> bool:
        """Before the first execution: give the session what it should have; tells if it did."""
        ...

    async def take_image(self, name: str, media_type: str, content: bytes) -> File:
        """Take a figure that the code showed without saving it."""
        ...

    async def take_file(self, file: SessionFile, *, deadline: float) -> File | None:
        """Take a file that the code wrote to /mnt/data; None if it is too large to bring."""
        ...


class InlineFiles:
    """The sink of a stateless turn: contents as data: URLs, up to INLINE_MAX_BYTES each."""

    def __init__(self, sessions: SessionsClient, identifier: str) -> None:
        self._sessions = sessions
        self._identifier = identifier

    async def prepare(self, present: Collection[SessionFile], *, deadline: float) -> bool:
        """A new session should have none."""
        return False

    async def take_image(self, name: str, media_type: str, content: bytes) -> File:
        """See FileSink."""
        return File(name, media_type, len(content), _data_url(media_type, content))

    async def take_file(self, file: SessionFile, *, deadline: float) -> File | None:
        """See FileSink."""
        if file.size_bytes > INLINE_MAX_BYTES:
            return None
        content = bytearray()
        async with self._sessions.open_file(
            self._identifier, file.name, deadline=deadline
        ) as chunks:
            async for chunk in chunks:
                content += chunk
                if len(content) > INLINE_MAX_BYTES:
                    return None
        media_type = media_type_of(file.name)
        return File(file.name, media_type, len(content), _data_url(media_type, bytes(content)))


class FileWatcher:
    """Finds the files in a session's /mnt/data that changed since the last look."""

    def __init__(self, sessions: SessionsClient, identifier: str) -> None:
        self._sessions = sessions
        self._identifier = identifier
        self._listed: dict[str, SessionFile] = {}

    async def changed_files(self, *, deadline: float) -> list[SessionFile]:
        """The files that are new or different, by name."""
        files = await self._sessions.list_files(self._identifier, deadline=deadline)
        now = {file.name: file for file in files}
        changed = [file for name, file in now.items() if self._listed.get(name) != file]
        self._listed = now
        return sorted(changed, key=lambda file: file.name)


async def in_chunks(content: bytes, size: int = 1024**2) -> AsyncIterator[bytes]:
    """Bytes as the stores take them."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


def _data_url(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
