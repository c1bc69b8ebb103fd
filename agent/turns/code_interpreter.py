"""The plugin that the model calls: Python in the session of this turn, and nothing else.

The session is on the instance. An argument that names it, even a hidden one, would be the model's
to set: Semantic Kernel lets the model's arguments overwrite the caller's.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Final

from agent.errors import AgentError, PoolAnswerLostError
from agent.events import (
    Event,
    Execution,
    ExecutionFinished,
    ExecutionStarted,
    TurnWarning,
)
from agent.frozen import frozen
from agent.model.sdk import kernel_function
from agent.pictures import Picture, header_of
from agent.session_pool.client import (
    EXECUTION_TIMEOUT_CEILING_S,
    SessionExecution,
)
from agent.telemetry import log_content
from agent.text import shortened
from agent.turns.session_files import NewFile, SessionFiles, TurnSession
from agent.turns.shown import OutputTaker


@frozen
class OutputLimits:
    """The limits on what code shows; on what it prints, in characters of each stream.

    Attributes:
        execution_max_chars: for the caller; the pool cuts there.
        model_max_chars: for the model; head and tail of it.
        figures_max: how many figures the model is shown at a time, the last ones.
    """

    execution_max_chars: int
    model_max_chars: int
    figures_max: int = 0


# Of what the model is shown: a plot of usual size has 30 KB and 0.3 million pixels.
FIGURES_MAX: Final = 4
FIGURE_MAX_BYTES: Final = 1024**2
FIGURE_PIXELS_MAX: Final = 4_000_000
_UNKNOWN: Final = (
    "The session pool's answer to this code was lost: it may have run, wholly or in part."
)
_as_json: Final = json.JSONEncoder(ensure_ascii=False).encode
_LOOK_FIRST: Final = "Look at what is there before you run it again."


# What the model reads of the tool, whatever becomes of its instructions.
_DESCRIPTION: Final = (
    "Run Python in the session and return its status, output and result as JSON. Call it whenever "
    "the answer depends on a calculation, on data, on a file, or on the date or time."
)


class CodeInterpreter:
    """One session, for one turn.

    Attributes:
        used: whether code was sent to the session, or was about to be.
        warming: allocates the session ahead of its use, where `warm_up` was called.
        abandoned: whether code was left running there.
        failure: why the pool could not do it; the model cannot repair that, so the turn ends.
        figures: that the model may be shown; whoever shows them clears them.
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
        self._limits = limits
        self._deadline = deadline
        self._execution_deadline = execution_deadline
        self._emit = emit
        self._executions = 0
        self._warnings: list[TurnWarning] = []
        self.figures: list[Picture] = []
        self._files = SessionFiles(
            session,
            deadline,
            tools_deadline=execution_deadline,
            emit=emit,
            warn=self._warnings.append,
        )
        self._taker = OutputTaker(
            session.files,
            limits.execution_max_chars,
            emit=emit,
            left_out=self._files.leave_out,
            figure=self._keep_figure,
        )
        self.used = False
        self.warming: asyncio.Task[None] | None = None
        self.abandoned = False
        self._lost_an_answer = False
        # Of the session: it does one thing at a time.
        self._alone = asyncio.Lock()
        self.failure: AgentError | None = None

    @property
    def session_guid(self) -> str | None:
        """The session that ran the code last."""
        return self._files.session_guid

    @property
    def may_write(self) -> bool:
        """Whether code that ran in the session so far may write files."""
        return self._files.looks

    @property
    def warnings(self) -> list[TurnWarning]:
        """What the caller should know; nothing of a session that was warmed and not used."""
        return self._warnings if self.used else []

    def warm_up(self) -> None:
        """Begin to have the session allocated, which takes up to seconds, beside the model's call.

        Whoever calls this sees to it that `warming` ends.
        """
        self.warming = asyncio.create_task(self._files.warm_up())

    @kernel_function(description=_DESCRIPTION)
    async def execute_python(
        self, code: Annotated[str, "Python source, as for one notebook cell"]
    ) -> str:
        """Run Python in the session and return its status, output and result as JSON."""
        async with self._alone:
            return await self._run(code)

    async def put_files(self, call_id: str, files: Sequence[NewFile]) -> list[str]:
        """Put files into the session, and bring them to the caller.

        Args:
            call_id: of the tool that made them.
            files: new ones; they are called what they can be called there.

        Returns:
            What the model is told; `failure` says where the turn cannot go on.
        """
        async with self._alone:
            try:
                await self._begin(None)
                return await self._files.put(call_id, files)
            except AgentError as error:
                self.failure = error
                return []

    async def _run(self, code: str) -> str:
        timeout_s = int(self._execution_deadline - asyncio.get_running_loop().time())
        if timeout_s < 1:
            return _as_json({"status": "Failed", "note": "No time is left for code. Answer now."})
        self._executions += 1
        execution_id = f"execution-{self._executions}"
        self._emit(ExecutionStarted(execution_id, code))
        log_content("code", code)
        try:
            reply = await self._execute(code, min(timeout_s, EXECUTION_TIMEOUT_CEILING_S))
            taken = await self._taker.take(execution_id, reply.outputs)
            notes = self._cut_notes(reply)
            notes += await self._files.after(execution_id, reply.session_guid)
        except PoolAnswerLostError as error:
            if self._lost_an_answer:
                self.failure = error
            self._lost_an_answer = True
            self._warnings.append(TurnWarning("ExecutionUnknown", _UNKNOWN))
            self._emit(
                ExecutionFinished(execution_id, Execution(code, "Failed", "", _UNKNOWN, None, 0))
            )
            return _as_json({"status": "Failed", "note": f"{_UNKNOWN} {_LOOK_FIRST}"})
        except AgentError as error:
            self.failure = error
            return _as_json({"status": "Failed", "note": error.title})
        self._lost_an_answer = False
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

    def _keep_figure(self, name: str, content: bytes) -> None:
        header = header_of(content) if self._limits.figures_max else None
        if header is None or len(content) > FIGURE_MAX_BYTES:
            return
        media_type, width, height = header
        if width * height <= FIGURE_PIXELS_MAX:
            self.figures.append(Picture(name, media_type, width, height, content))
            del self.figures[: -self._limits.figures_max]

    async def _begin(self, code: str | None) -> None:
        if self.warming:
            await asyncio.shield(self.warming)
        await self._files.before(code)
        self.used = True

    async def _execute(self, code: str, timeout_s: int) -> SessionExecution:
        await self._begin(code)
        self._files.runs(code)
        self.abandoned = True
        reply = await self._session.sessions.execute(
            self._session.identifier,
            code,
            timeout_s=timeout_s,
            max_chars=self._limits.execution_max_chars,
            deadline=self._deadline,
        )
        self.abandoned = False
        return reply

    def _cut_notes(self, reply: SessionExecution) -> list[str]:
        """What the pool cut; the number of characters that it kept is all that is known."""
        notes = []
        for stream in reply.cut:
            chars = len(reply.stdout if stream == "stdout" else reply.stderr)
            text = (
                f"The session pool cut {stream} of execution {self._executions} after {chars:,} "
                "characters; how many followed is not known. Print less, or write to a file."
            )
            self._warnings.append(TurnWarning("OutputCut", text))
            notes.append(text)
        return notes

    def _for_the_model(self, execution: Execution, outputs: str, notes: list[str]) -> str:
        limit = self._limits.model_max_chars
        fields = {
            "status": execution.status,
            "stdout": shortened(execution.stdout, limit),
            "stderr": shortened(execution.stderr, limit),
            "result": "" if outputs else shortened(execution.result or "", limit),
            "outputs": shortened(outputs, limit),
            "note": shortened(" ".join(notes), limit),
        }
        return _as_json({name: text for name, text in fields.items() if text})
