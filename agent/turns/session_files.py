"""The files of a turn's session.

They are brought to the caller after each execution, and put back where the session was replaced.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Final, Protocol

from agent.errors import AgentError, DeadlineExceededError, PoolError
from agent.events import Event, File, FileCreated, TurnWarning
from agent.frozen import frozen
from agent.session_pool.client import SessionsClient
from agent.session_pool.names import plain_name
from agent.session_pool.survey import SessionFile
from agent.telemetry import logger
from agent.turns.files import FileSink, FileWatcher, Look, in_chunks
from agent.turns.may_write import may_use_files, may_write

# An allocation takes up to some seconds; what takes longer is left to the execution that needs it.
WARM_UP_TIMEOUT_S: Final = 30

_REPLACED = "The session was replaced by a new one: earlier variables and imports are gone."
_PUT_BACK = "Its files were put back after this code ran: run again what needs them."


class NewFile(Protocol):
    """A file that somebody else made."""

    @property
    def name(self) -> str:
        """What it should be called."""
        ...

    @property
    def content(self) -> bytes:
        """Its bytes."""
        ...


@frozen
class TurnSession:
    """The session of one turn.

    Attributes:
        sessions: the pool.
        identifier: of the session, known to nobody else.
        files: where figures and files go.
        guid: which session the conversation had before this turn; None if it had none.
        keeps_files: whether it should have files, which `files` puts there.
        looks: whether code of turns before may have written files, so that every execution is
            followed by a look. Another session is only looked at once code may have written some.
        is_there: whether it was used so lately that it has not ended by itself.
        addresses: of files that earlier turns made, by name.
    """

    sessions: SessionsClient
    identifier: str
    files: FileSink
    guid: str | None = None
    keeps_files: bool = False
    looks: bool = False
    is_there: bool = False
    addresses: Mapping[str, str] = MappingProxyType({})


class SessionFiles:
    """Files of one session, for one turn.

    Attributes:
        session_guid: the session that ran the code last.
        looks: whether code that ran there so far may write files.

    Args:
        session: of the turn.
        deadline: of the turn (event-loop time).
        tools_deadline: when files must be there, so that the model can still answer.
        emit: gets an event for each file.
        warn: is told what the caller should know.
    """

    def __init__(
        self,
        session: TurnSession,
        deadline: float,
        *,
        tools_deadline: float,
        emit: Callable[[Event], None],
        warn: Callable[[TurnWarning], None],
    ) -> None:
        self._session = session
        self._sink = session.files
        self._keeps_files = session.keeps_files
        self.looks = session.looks
        self._has_its_files = False
        self._watcher = FileWatcher(session.sessions, session.identifier)
        self._deadline = deadline
        self._tools_deadline = tools_deadline
        self._emit = emit
        self._warn = warn
        # What the model is told with the next result.
        self._notes: list[str] = []
        self._early_look: Look | None = None
        self.session_guid = session.guid

    async def warm_up(self) -> None:
        """Have the session allocated; see what files it has, where code will wait for that.

        It changes nothing in the session or the turn. Where it fails, the execution that needs the
        session will tell.
        """
        deadline = min(self._deadline, asyncio.get_running_loop().time() + WARM_UP_TIMEOUT_S)
        try:
            if self.looks:
                self._early_look = await self._look(deadline=deadline)
            else:
                session = self._session
                await session.sessions.allocate(session.identifier, deadline=deadline)
        except AgentError as error:
            logger.warning("session not allocated ahead: %s", error.code)

    async def before(self, code: str | None) -> None:
        """Give a session the files that it should have, once that makes a difference.

        Args:
            code: that will run; None for another use of the session.
        """
        if not self._keeps_files or self._has_its_files:
            return
        if not self.looks and code is not None and not may_use_files(code):
            return
        look = self._early_look or await self._look()
        self._is_replaced(look.session_guid)
        await self._put_back(look)
        self._has_its_files = True

    def runs(self, code: str) -> None:
        """Take note of code that is sent to the session: it may run although no answer says so."""
        self.looks = self.looks or may_write(code)

    async def after(self, execution_id: str, session_guid: str | None) -> list[str]:
        """Bring what an execution wrote; a file that cannot be had is no reason to fail.

        Returns:
            What the model is told.
        """
        replaced = self._is_replaced(session_guid)
        self._has_its_files &= not replaced
        if self.looks:
            try:
                look = await self._look()
                replaced = self._is_replaced(look.session_guid) or replaced
                for entry in look.changed:
                    await self._bring(execution_id, entry)
                await self._sink.forget(look.gone)
                if replaced and await self._put_back(look):
                    self._notes.append(_PUT_BACK)
                self._has_its_files = True
            except PoolError as error:
                logger.warning("files of the session not looked at: %s", error.code)
                text = "Which files the code wrote is not known: the session pool did not tell."
                self._tell("FilesUnknown", text)
        notes, self._notes = self._notes, []
        return notes

    async def put(self, call_id: str, files: Sequence[NewFile]) -> list[str]:
        """Put files beside those that are there, and bring them to the caller too.

        Returns:
            What the model is told.
        """
        names: set[str] = set()
        for new in files:
            name = plain_name(new.name, self._watcher.names | names)
            size_bytes = len(new.content)
            names.add(name)
            try:
                await self._session.sessions.send_file(
                    self._session.identifier,
                    name,
                    size_bytes,
                    partial(in_chunks, new.content),
                    deadline=self._tools_deadline,
                )
            except (PoolError, DeadlineExceededError) as error:
                logger.warning("a file of a tool not put into the session: %s", error.code)
                text = f"{name} ({size_bytes:,} bytes) could not be put into the session."
                self._tell("FileNotShown", text)
                continue
            file = await self._sink.take_content(name, new.content)
            self._show(call_id, file, name, size_bytes, ", in /mnt/data")
        try:
            # So that the next look does not take them for what code wrote.
            look = await self._look()
            for entry in look.changed:
                if entry.name not in names:
                    await self._bring(call_id, entry)
            if self._is_replaced(look.session_guid):
                await self._put_back(look)
        except PoolError as error:
            logger.warning("files of the session not looked at: %s", error.code)
        notes, self._notes = self._notes, []
        return notes

    def leave_out(self, name: str, size_bytes: int) -> None:
        """Say that a figure or a file is not part of the answer, and what to do."""
        text = f"{name} ({size_bytes:,} bytes) is not part of the answer. {self._sink.limits}"
        self._warn(TurnWarning("FileNotShown", text))

    async def _look(
        self, moves: tuple[tuple[str, str], ...] = (), *, deadline: float | None = None
    ) -> Look:
        look = await self._watcher.look(
            moves=moves, works_in_data=self._keeps_files, deadline=deadline or self._deadline
        )
        for name in look.failed:
            self._tell("FileNotShown", f"There is no room for {name} in /mnt/data: remove others.")
        if look.left_out:
            text = (
                f"The session has {look.left_out + len(look.files):,} files; the newest "
                f"{len(look.files):,} are looked at. Pack many files into one."
            )
            self._tell("FilesNotShown", text)
        return look

    async def _put_back(self, look: Look) -> int:
        prepared = await self._sink.prepare(look.files, deadline=self._deadline)
        for name in prepared.failed:
            text = f"{name} is not in the session, which has no room for it: delete other files."
            self._tell("FileNotRestored", text)
        if prepared.count:
            # What is put there was not made by this turn.
            await self._look(prepared.moves)
        return prepared.count

    def _is_replaced(self, now: str | None) -> bool:
        before, self.session_guid = self.session_guid, now or self.session_guid
        if before is None or now in (None, before):
            return False
        self._tell("SessionLost", _REPLACED)
        return True

    def _tell(self, code: str, text: str) -> None:
        self._notes.append(text)
        self._warn(TurnWarning(code, text))

    async def _bring(self, execution_id: str, entry: SessionFile) -> None:
        file: File | None = None
        try:
            if asyncio.get_running_loop().time() < self._tools_deadline:
                file = await self._sink.take_file(entry, deadline=self._deadline)
        except PoolError as error:
            logger.warning("a file of the session could not be read: %s", error.code)
        self._show(execution_id, file, entry.name, entry.size_bytes)

    def _show(
        self, execution_id: str, file: File | None, name: str, size_bytes: int, where: str = ""
    ) -> None:
        """Give the caller a file, and tell the model of it."""
        if file is None:
            self.leave_out(name, size_bytes)
            self._notes.append(f"[file: {name}, {size_bytes} bytes{where}, not shown]")
            return
        self._emit(FileCreated(execution_id, file))
        self._notes.append(
            f"[file: {file.name}, {file.size_bytes} bytes{where}, given to the user]"
        )
        if not self._sink.is_kept(file.name):
            text = f"{file.name} can be downloaded while its session lives. {self._sink.limits}"
            self._tell("FileNotKept", text)
