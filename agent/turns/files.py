"""Files that a turn's code makes: noticed in the session, brought to the caller.

The model never reads them; it is told their names. A stateless turn gives its session back, so
its files travel in the answer as data: URLs; those of a conversation are kept and have an address.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

from agent.events import File
from agent.frozen import frozen
from agent.media_types import media_type_of
from agent.session_pool.client import SessionsClient
from agent.session_pool.survey import Errand, SessionFile, Survey

# What one answer may carry inside, of one file and of all; more needs a conversation.
INLINE_MAX_BYTES: Final = 1024**2
INLINE_TOTAL_MAX_BYTES: Final = 8 * 1024**2
# What a clock may be off by, and a session may have been there before its first look.
CLOCK_SLACK_S: Final = 5


@frozen
class Prepared:
    """What a session was given.

    Attributes:
        count: how many files.
        moves: those of them that the next look must give their names.
        failed: names of those that it did not take.
    """

    count: int = 0
    moves: tuple[tuple[str, str], ...] = ()
    failed: tuple[str, ...] = ()


class FileSink(Protocol):
    """The destination of a turn's files.

    Attributes:
        limits: a sentence that says how much it takes, and what to do with more.
    """

    @property
    def limits(self) -> str:
        """See above."""
        ...

    async def prepare(self, present: Collection[SessionFile], *, deadline: float) -> Prepared:
        """Give a session what it should have and lacks."""
        ...

    async def forget(self, names: Collection[str]) -> None:
        """Take note of files that code removed."""
        ...

    def is_kept(self, name: str) -> bool:
        """Whether a file that was taken outlives its session."""
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

    async def take_content(self, name: str, content: bytes) -> File | None:
        """Take a file that was put into /mnt/data; None if it is too large to bring."""
        ...


class InlineFiles:
    """The sink of a stateless turn: contents as data: URLs.

    Each has up to INLINE_MAX_BYTES, all together INLINE_TOTAL_MAX_BYTES. A file that is written
    again counts again: who streams the answer has got it twice.
    """

    limits: Final = (
        "An answer carries files of up to 1 MB, together 8 MB: in a conversation files are kept."
    )

    def __init__(
        self, sessions: SessionsClient, identifier: str, given: Mapping[str, bytes] | None = None
    ) -> None:
        """Prepare; nothing is sent.

        Args:
            sessions: the pool.
            identifier: of the session.
            given: contents by name, which the session has from its begin.
        """
        self._sessions = sessions
        self._identifier = identifier
        self._left_bytes = INLINE_TOTAL_MAX_BYTES
        # What was given and what code wrote, so that a session that replaces this one has it.
        self._contents = dict(given or {})

    async def prepare(self, present: Collection[SessionFile], *, deadline: float) -> Prepared:
        """Put what was given, and what this turn's code wrote, where it is not."""
        names = {file.name for file in present}
        missing = {name: c for name, c in self._contents.items() if name not in names}
        moves = []
        for name, content in missing.items():
            move = await self._sessions.send_file(
                self._identifier,
                name,
                len(content),
                partial(in_chunks, content),
                deadline=deadline,
            )
            moves += [move] if move else []
        return Prepared(len(missing), tuple(moves))

    async def forget(self, names: Collection[str]) -> None:
        """See FileSink."""
        for name in names:
            self._contents.pop(name, None)

    def is_kept(self, name: str) -> bool:
        """The answer holds it."""
        return True

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
        return await self.take_content(file.name, bytes(content))

    async def take_content(self, name: str, content: bytes) -> File | None:
        """See FileSink."""
        taken = self._inline(name, media_type_of(name), content)
        if taken:
            self._contents[name] = content
        return taken

    def _inline(self, name: str, media_type: str, content: bytes) -> File | None:
        if len(content) > min(INLINE_MAX_BYTES, self._left_bytes):
            return None
        self._left_bytes -= len(content)
        return File(name, media_type, len(content), _data_url(media_type, content))


@frozen
class Look:
    """What a look at a session's files found.

    Attributes:
        files: all of them, by name.
        changed: those that are new or different since the last look; all of a new session.
        gone: names of those that were there at the last look, in the same session.
        left_out: how many more there are, which were not looked at.
        failed: names that could not be put or brought there.
        session_guid: the session that was looked at; None if it is not known.
    """

    files: tuple[SessionFile, ...]
    changed: tuple[SessionFile, ...]
    gone: tuple[str, ...]
    left_out: int
    failed: tuple[str, ...]
    session_guid: str | None


class FileWatcher:
    """Finds the files in a session that changed since the last look.

    Args:
        sessions: the pool.
        identifier: of the session.
    """

    def __init__(self, sessions: SessionsClient, identifier: str) -> None:
        self._sessions = sessions
        self._identifier = identifier
        self._listed: dict[str, SessionFile] = {}
        self._guid: str | None = None
        self._began = asyncio.get_running_loop().time()

    @property
    def names(self) -> set[str]:
        """Of the files that were there at the last look."""
        return set(self._listed)

    async def look(
        self,
        *,
        moves: Sequence[tuple[str, str]] = (),
        works_in_data: bool = False,
        deadline: float,
    ) -> Look:
        """Look at /mnt/data, after bringing there what was written to working directories.

        Args:
            moves: files to give their names first.
            works_in_data: make /mnt/data the working directory of a session that is new.
            deadline: event-loop time.
        """
        working_s = asyncio.get_running_loop().time() - self._began + CLOCK_SLACK_S
        errand = Errand(moves=moves, works_in_data=works_in_data, working_s=working_s)
        survey = await self._sessions.survey(self._identifier, errand, deadline=deadline)
        if survey is None:
            # Code made its session unable to answer; the service can list most files.
            files = await self._sessions.list_files(self._identifier, deadline=deadline)
            survey = Survey(tuple(files), len(files), (), None)
        same = survey.session_guid is not None and survey.session_guid == self._guid
        before = self._listed if same or survey.session_guid is None else {}
        now = {file.name: file for file in survey.files}
        left_out = survey.count - len(survey.files)
        gone = sorted(before.keys() - now.keys()) if same and not left_out else []
        changed = [file for name, file in now.items() if before.get(name) != file]
        self._listed, self._guid = now, survey.session_guid or self._guid
        return Look(
            files=tuple(sorted(survey.files, key=lambda file: file.name)),
            changed=tuple(sorted(changed, key=lambda file: file.name)),
            gone=tuple(gone),
            left_out=left_out,
            failed=survey.failed,
            session_guid=survey.session_guid,
        )


async def in_chunks(content: bytes, size: int = 1024**2) -> AsyncIterator[bytes]:
    """Bytes as the stores take them."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


def _data_url(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
