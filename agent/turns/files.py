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

# What one answer may carry inside, of one file and of all; more needs a conversation.
INLINE_MAX_BYTES: Final = 1024**2
INLINE_TOTAL_MAX_BYTES: Final = 8 * 1024**2


class FileSink(Protocol):
    """The destination of a turn's files.

    Attributes:
        limits: a sentence that says how much it takes, and what to do with more.
    """

    @property
    def limits(self) -> str:
        """See above."""
        ...

    async def prepare(self, present: Collection[SessionFile], *, deadline: float) -> bool:
        """Before the first execution: give the session what it should have; tells if it did."""
        ...

    def output_name(self, stem: str, number: int, extension: str) -> str:
        """What a figure or a page is called that the code showed without saving it."""
        ...

    async def take_output(self, name: str, media_type: str, content: bytes) -> File | None:
        """Take a figure or a page of that name; None if it is too large to bring."""
        ...

    async def take_file(self, file: SessionFile, *, deadline: float) -> File | None:
        """Take a file that the code wrote to /mnt/data; None if it is too large to bring."""
        ...


class InlineFiles:
    """The sink of a stateless turn: contents as data: URLs.

    Each has up to INLINE_MAX_BYTES, all together INLINE_TOTAL_MAX_BYTES. A file that is written
    again counts again: who streams the answer has got it twice.
    """

    limits: Final = (
        "An answer carries files of up to 1 MB, together 8 MB: in a conversation files are kept."
    )

    def __init__(self, sessions: SessionsClient, identifier: str) -> None:
        self._sessions = sessions
        self._identifier = identifier
        self._left_bytes = INLINE_TOTAL_MAX_BYTES

    async def prepare(self, present: Collection[SessionFile], *, deadline: float) -> bool:
        """A new session should have none."""
        return False

    def output_name(self, stem: str, number: int, extension: str) -> str:
        """See FileSink."""
        return f"{stem}-{number}.{extension}"

    async def take_output(self, name: str, media_type: str, content: bytes) -> File | None:
        """See FileSink."""
        return self._inline(name, media_type, content)

    async def take_file(self, file: SessionFile, *, deadline: float) -> File | None:
        """See FileSink."""
        if file.size_bytes > min(INLINE_MAX_BYTES, self._left_bytes):
            return None
        content = bytearray()
        async with self._sessions.open_file(
            self._identifier, file.name, deadline=deadline
        ) as chunks:
            async for chunk in chunks:
                content += chunk
                if len(content) > INLINE_MAX_BYTES:
                    return None
        return self._inline(file.name, media_type_of(file.name), bytes(content))

    def _inline(self, name: str, media_type: str, content: bytes) -> File | None:
        if len(content) > min(INLINE_MAX_BYTES, self._left_bytes):
            return None
        self._left_bytes -= len(content)
        return File(name, media_type, len(content), _data_url(media_type, content))


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
