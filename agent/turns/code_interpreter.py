"""The plugin that the model calls: Python in the session of this turn, and nothing else.

The session is on the instance. An argument that names it, even a hidden one, would be the model's
to set: Semantic Kernel lets the model's arguments overwrite the caller's.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import JsonValue

from agent.errors import AgentError, PoolError
from agent.events import (
    Event,
    Execution,
    ExecutionFinished,
    ExecutionStarted,
    File,
    FileCreated,
    TurnWarning,
)
from agent.model.sdk import kernel_function
from agent.session_pool.client import (
    EXECUTION_TIMEOUT_CEILING_S,
    SessionExecution,
    SessionFile,
    SessionsClient,
)
from agent.telemetry import log_content, logger
from agent.text import shortened
from agent.turns.files import FileSink, FileWatcher
from agent.turns.shown import OutputTaker


@dataclass(frozen=True, slots=True)
class OutputLimits:
    """The limits on printed output, in characters of each stream.

    Attributes:
        execution_max_chars: for the caller; the pool cuts there.
        model_max_chars: for the model; head and tail of it.
    """

    execution_max_chars: int
    model_max_chars: int


@dataclass(frozen=True, slots=True)
class TurnSession:
    """The session of one turn.

    Attributes:
        sessions: the pool.
        identifier: of the session, known to nobody else.
        files: where figures and files go.
        guid: which session the conversation had before this turn; None if it had none.
        keeps_files: whether files may be there from turns before, so that every execution is
            followed by a look. A new session is only looked at once code names /mnt/data.
    """

    sessions: SessionsClient
    identifier: str
    files: FileSink
    guid: str | None = None
    keeps_files: bool = False


class CodeInterpreter:
    """One session, for one turn.

    Attributes:
        used: whether the session was ever asked for, so that there may be one to give back.
        failure: why the pool could not do it; the model cannot repair that, so the turn ends.
        session_guid: the session that ran the code last.
        warnings: what the caller should know.
    """

    def __init__(
        self,
        session: TurnSession,
        limits: OutputLimits,
        *,
        deadline: float,
        execution_deadline: float,
        emit: Callable[[Event], None],
    ) -> None:
        """Prepare; nothing is sent.

        Args:
            session: where code runs.
            limits: of output.
            deadline: of the turn (event-loop time).
            execution_deadline: when code must have ended, so that the model can still answer.
            emit: gets the events of each execution as they happen.
        """
        self._session = session
        self._watcher = FileWatcher(session.sessions, session.identifier)
        self._looks_for_files = session.keeps_files
        self._limits = limits
        self._deadline = deadline
        self._execution_deadline = execution_deadline
        self._emit = emit
        self._executions = 0
        self._taker = OutputTaker(
            session.files, limits.execution_max_chars, emit=emit, left_out=self._leave_out
        )
        self.used = False
        self.failure: AgentError | None = None
        self.session_guid = session.guid
        self.warnings: list[TurnWarning] = []

    @kernel_function
    async def execute_python(
        self, code: Annotated[str, "Python source, as for one notebook cell"]
    ) -> str:
        """Run Python in the session and return its status, output and result as JSON."""
        timeout_s = int(self._execution_deadline - asyncio.get_running_loop().time())
        if timeout_s < 1:
            return _as_json({"status": "Failed", "note": "No time is left for code. Answer now."})
        self._executions += 1
        execution_id = f"execution-{self._executions}"
        self._emit(ExecutionStarted(execution_id, code))
        log_content("code", code)
        try:
            reply = await self._execute(code, min(timeout_s, EXECUTION_TIMEOUT_CEILING_S))
            notes = self._lost_session_note(reply)
            taken = await self._taker.take(execution_id, reply.outputs)
            notes += await self._show_files(execution_id, code)
        except AgentError as error:
            self.failure = error
            return _as_json({"status": "Failed", "note": error.title})
        log_content("output", reply.stdout + reply.stderr)
        execution = Execution(
            code,
            reply.status,
            reply.stdout,
            reply.stderr,
            taken.result,
            reply.duration_ms,
            taken.outputs,
        )
        self._emit(ExecutionFinished(execution_id, execution))
        return self._for_the_model(execution, taken.for_the_model, notes)

    async def _execute(self, code: str, timeout_s: int) -> SessionExecution:
        if self._session.keeps_files and not self.used:
            present = await self._watcher.changed_files(deadline=self._deadline)
            if await self._session.files.prepare(present, deadline=self._deadline):
                # What is there before the first execution was not made by this turn.
                await self._watcher.changed_files(deadline=self._deadline)
        self.used = True
        return await self._session.sessions.execute(
            self._session.identifier,
            code,
            timeout_s=timeout_s,
            max_chars=self._limits.execution_max_chars,
            deadline=self._deadline,
        )

    def _lost_session_note(self, reply: SessionExecution) -> list[str]:
        before, now = self.session_guid, reply.session_guid
        self.session_guid = now or before
        if before is None or now in (None, before):
            return []
        text = "The session was replaced by a new one: earlier variables and imports are gone."
        self.warnings.append(TurnWarning("SessionLost", text))
        return [text]

    async def _show_files(self, execution_id: str, code: str) -> list[str]:
        """Bring the files that the code made; a file that cannot be had is no reason to fail."""
        self._looks_for_files = self._looks_for_files or "/mnt/data" in code
        if not self._looks_for_files:
            return []
        notes: list[str] = []
        with contextlib.suppress(PoolError):
            for entry in await self._watcher.changed_files(deadline=self._deadline):
                file = await self._take_file(entry)
                if file is None:
                    notes.append(f"[file: {entry.name}, {entry.size_bytes} bytes, not shown]")
                else:
                    self._emit(FileCreated(execution_id, file))
                    notes.append(f"[file: {file.name}, {file.size_bytes} bytes, given to the user]")
        return notes

    async def _take_file(self, entry: SessionFile) -> File | None:
        try:
            file = await self._session.files.take_file(entry, deadline=self._deadline)
        except PoolError as error:
            logger.warning("a file of the session could not be read: %s", error.code)
            file = None
        if file is None:
            self._leave_out(entry.name, entry.size_bytes)
        return file

    def _leave_out(self, name: str, size_bytes: int) -> None:
        limits = self._session.files.limits
        text = f"{name} ({size_bytes:,} bytes) is not part of the answer. {limits}"
        self.warnings.append(TurnWarning("FileNotShown", text))

    def _for_the_model(self, execution: Execution, outputs: str, notes: list[str]) -> str:
        limit = self._limits.model_max_chars
        fields = {
            "status": execution.status,
            "stdout": shortened(execution.stdout, limit),
            "stderr": shortened(execution.stderr, limit),
            "result": "" if outputs else shortened(execution.result or "", limit),
            "outputs": shortened(outputs, limit),
            "note": " ".join(notes),
        }
        return _as_json({name: text for name, text in fields.items() if text})


def _as_json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False)
