"""The plugin that the model calls: Python in the session of this turn, and nothing else.

The session is on the instance. An argument that names it, even a hidden one, would be the model's
to set: Semantic Kernel lets the model's arguments overwrite the caller's.
"""

import asyncio
import base64
import binascii
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import JsonValue

from agent.errors import AgentError
from agent.events import Event, Execution, ExecutionFinished, ExecutionStarted, File, FileCreated
from agent.lean_imports import lean_imports
from agent.sessions import EXECUTION_TIMEOUT_CEILING_S, SessionExecution, SessionsClient
from agent.telemetry import log_content

with lean_imports():
    from semantic_kernel.functions import kernel_function


@dataclass(frozen=True, slots=True)
class OutputLimits:
    """How much of what code prints is kept, in characters of each stream.

    Attributes:
        execution_max_chars: for the caller; the pool cuts there.
        model_max_chars: for the model; head and tail of it.
    """

    execution_max_chars: int
    model_max_chars: int


class CodeInterpreter:
    """One session, for one turn.

    Attributes:
        used: whether the session was ever asked for, so that there may be one to give back.
        failure: why the pool could not do it; the model cannot repair that, so the turn ends.
    """

    def __init__(
        self,
        sessions: SessionsClient,
        identifier: str,
        limits: OutputLimits,
        *,
        deadline: float,
        execution_deadline: float,
        emit: Callable[[Event], None],
    ) -> None:
        """Prepare; nothing is sent.

        Args:
            sessions: the pool.
            identifier: of the session.
            limits: of output.
            deadline: of the turn (event-loop time).
            execution_deadline: when code must have ended, so that the model can still answer.
            emit: gets the events of each execution as they happen.
        """
        self._sessions = sessions
        self._identifier = identifier
        self._limits = limits
        self._deadline = deadline
        self._execution_deadline = execution_deadline
        self._emit = emit
        self._executions = 0
        self._images = 0
        self._session_guid: str | None = None
        self.used = False
        self.failure: AgentError | None = None

    @kernel_function
    async def execute_python(
        self, code: Annotated[str, "Python source, as for one notebook cell"]
    ) -> str:
        """Run Python in the session and return its status, output and result as JSON."""
        timeout_s = int(self._execution_deadline - asyncio.get_running_loop().time())
        if timeout_s < 1:
            return _as_json({"status": "Failed", "note": "No time is left for code. Answer now."})
        self.used = True
        self._executions += 1
        execution_id = f"execution-{self._executions}"
        self._emit(ExecutionStarted(execution_id, code))
        log_content("code", code)
        try:
            reply = await self._sessions.execute(
                self._identifier,
                code,
                timeout_s=min(timeout_s, EXECUTION_TIMEOUT_CEILING_S),
                max_chars=self._limits.execution_max_chars,
                deadline=self._deadline,
            )
        except AgentError as error:
            self.failure = error
            return _as_json({"status": "Failed", "note": error.title})
        log_content("output", reply.stdout + reply.stderr)

        notes = self._lost_session_note(reply)
        image = _image_of(reply.result)
        if image:
            self._images += 1
            file = _file_of(image, f"image-{self._images}")
            self._emit(FileCreated(execution_id, file))
            notes.append(f"[image: {file.name}, {_size_of(image)}, shown to the user]")
        result = None if image else _text_of(reply.result, self._limits.execution_max_chars)
        execution = Execution(
            code, reply.status, reply.stdout, reply.stderr, result, reply.duration_ms
        )
        self._emit(ExecutionFinished(execution_id, execution))
        return self._for_the_model(execution, notes)

    def _lost_session_note(self, reply: SessionExecution) -> list[str]:
        before, self._session_guid = self._session_guid, reply.session_guid
        if before is None or reply.session_guid in (None, before):
            return []
        return ["The session was replaced by a new one: earlier variables and files are gone."]

    def _for_the_model(self, execution: Execution, notes: list[str]) -> str:
        limit = self._limits.model_max_chars
        fields = {
            "status": execution.status,
            "stdout": shortened(execution.stdout, limit),
            "stderr": shortened(execution.stderr, limit),
            "result": shortened(execution.result or "", limit),
            "note": " ".join(notes),
        }
        return _as_json({name: text for name, text in fields.items() if text})


def shortened(text: str, max_chars: int) -> str:
    """Head and tail of a text that is too long, with a marker that says how much is missing."""
    if len(text) <= max_chars:
        return text
    head, tail = max_chars * 2 // 3, max_chars // 3
    missing = len(text) - head - tail
    return f"{text[:head]}\n[... {missing:,} characters left out ...]\n{text[-tail:]}"


@dataclass(frozen=True, slots=True)
class _Image:
    media_type: str
    content: bytes


def _image_of(result: JsonValue) -> _Image | None:
    """The picture in `{"type": "image", "format": "png", "base64_data": ...}`."""
    match result:
        case {"type": "image", "format": str(kind), "base64_data": str(data)} if kind.isalnum():
            try:
                return _Image(f"image/{kind.lower()}", base64.b64decode(data, validate=True))
            except binascii.Error:
                return None
    return None


def _file_of(image: _Image, stem: str) -> File:
    extension = image.media_type.removeprefix("image/")
    data = base64.b64encode(image.content).decode("ascii")
    url = f"data:{image.media_type};base64,{data}"
    return File(f"{stem}.{extension}", image.media_type, len(image.content), url)


def _size_of(image: _Image) -> str:
    """Width and height of a PNG, bytes of anything else."""
    # Signature, then the IHDR chunk: https://www.w3.org/TR/png/#11IHDR
    if image.content[:8] == b"\x89PNG\r\n\x1a\n" and len(image.content) >= 24:
        width, height = struct.unpack(">II", image.content[16:24])
        return f"{width}x{height}"
    return f"{len(image.content)} bytes"


def _text_of(result: JsonValue, max_chars: int) -> str | None:
    if result is None or result == "":
        return None
    text = result if isinstance(result, str) else _as_json(result)
    return shortened(text, max_chars)


def _as_json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False)
