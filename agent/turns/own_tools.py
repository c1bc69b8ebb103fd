"""The app's own tools in one turn: each call with its events, its time and its files."""

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from typing import Final

from agent.events import Event, ToolFinished, ToolStarted, ToolUse, TurnWarning
from agent.model.tool_calls import ToolRequest
from agent.model.wire import whole_characters
from agent.telemetry import log_content
from agent.telemetry.calls import OwnToolSpan
from agent.text import shortened
from agent.toolkit.authoring import FILES_MAX, FILES_MAX_BYTES, ToolFile
from agent.toolkit.tool import OwnTool, Returned
from agent.turns.code_interpreter import CodeInterpreter, OutputLimits

# Each may hold files of FILES_MAX_BYTES until the session has them.
AT_ONCE_MAX: Final = 4
_BUSY: Final = Returned(
    "Failed", "This tool is busy with the calls of others. Go on without it, or try once more."
)
_NO_TIME: Final = Returned("Failed", "No time is left for tools. Answer now.")


class OwnTools:
    """The app's own tools, for one turn.

    Attributes:
        warnings: what the caller should know.

    Args:
        tools: of the worker.
        limits: of what they return.
        deadline: when they must have ended, so that the model can still answer (event-loop time).
        emit: gets the events of each call as they happen.
        interpreter: whose session gets their files; None if the turn has none.
    """

    def __init__(
        self,
        tools: Iterable[OwnTool],
        limits: OutputLimits,
        *,
        deadline: float,
        emit: Callable[[Event], None],
        interpreter: CodeInterpreter | None,
    ) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._limits = limits
        self._deadline = deadline
        self._emit = emit
        self._interpreter = interpreter
        self._calls = 0
        self._places = asyncio.Semaphore(AT_ONCE_MAX)
        self.warnings: list[TurnWarning] = []

    def __contains__(self, name: str) -> bool:
        return name in self._tools

    async def call(self, request: ToolRequest) -> str:
        """Call a tool, when fewer than AT_ONCE_MAX run; whatever it does becomes a result.

        Returns:
            What the model reads.
        """
        async with self._places:
            return await self._call(request)

    async def _call(self, request: ToolRequest) -> str:
        tool = self._tools[request.name]
        self._calls += 1
        call_id = f"tool-{self._calls}"
        arguments = json.loads(request.arguments)
        self._emit(ToolStarted(call_id, request.name, arguments))
        began_s = time.monotonic()
        with OwnToolSpan(request.name, request.id) as span:
            log_content("arguments", request.arguments)
            # Until the session has the files: the worker's memory holds them.
            async with tool.place(self._end_of(tool)) as has_place:
                returned = await self._returned(tool, arguments) if has_place else _BUSY
                if returned.status == "Failed":
                    span.failed("ToolFailed")
                text = whole_characters(returned.text)
                log_content("result", text)
                notes = await self._put(call_id, returned.files)
        use = ToolUse(
            request.name,
            arguments,
            returned.status,
            shortened(text, self._limits.execution_max_chars),
            round((time.monotonic() - began_s) * 1000),
        )
        self._emit(ToolFinished(call_id, use))
        limit = self._limits.model_max_chars
        told = [shortened(text, limit), shortened("\n".join(notes), limit)]
        return "\n\n".join(part for part in told if part) or "(nothing)"

    async def _returned(self, tool: OwnTool, arguments: dict[str, object]) -> Returned:
        left_s = self._deadline - asyncio.get_running_loop().time()
        if left_s < 1:
            return _NO_TIME
        return await tool.call(arguments, timeout_s=min(tool.timeout_s, left_s))

    def _end_of(self, tool: OwnTool) -> float:
        return min(self._deadline, asyncio.get_running_loop().time() + tool.timeout_s)

    async def _put(self, call_id: str, files: Iterable[ToolFile]) -> list[str]:
        """Put files into the session, and tell the model of them."""
        kept: list[ToolFile] = []
        notes: list[str] = []
        size_bytes = 0
        for file in files:
            size_bytes += len(file.content)
            if self._interpreter is None:
                reason = "the app has no session pool"
            elif len(kept) == FILES_MAX:
                reason = f"a result has up to {FILES_MAX} files"
            elif size_bytes > FILES_MAX_BYTES:
                reason = f"the files of a result have up to {FILES_MAX_BYTES:,} bytes"
            else:
                kept.append(file)
                continue
            name = shortened(file.name, 200)
            text = f"{name} ({len(file.content):,} bytes) was left out: {reason}."
            self.warnings.append(TurnWarning("FileNotShown", text))
            notes.append(f"[{text}]")
        if self._interpreter and kept:
            notes += await self._interpreter.put_files(call_id, kept)
        return notes
