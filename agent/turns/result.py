"""The result of a turn: its events, added up in one place for every kind of answer."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Protocol

from agent.events import (
    Event,
    Execution,
    ExecutionFinished,
    File,
    FileCreated,
    FinishReason,
    TextDelta,
    ToolFinished,
    ToolStarted,
    ToolUse,
    TurnFailed,
    TurnFinished,
    TurnWarning,
    Usage,
)
from agent.frozen import frozen
from agent.messages import Message


class TurnEvents(Protocol):
    """The events of one turn; closing them ends the turn at any point."""

    def __aiter__(self) -> AsyncIterator[Event]:
        """The events, as they happen."""
        ...

    async def aclose(self) -> None:
        """End the turn."""
        ...


@frozen
class TurnResult:
    """A turn that has its answer.

    Attributes:
        output: all that the model said, its messages apart by an empty line.
        executions: the Python that ran, in order.
        tool_calls: the calls of the app's own tools, in the order in which they began.
        files: figures and files that it made; a file that was written twice is there once, as it
            is at the end.
        parts: texts and files in the order in which they came; a message of the model is one text.
        finish_reason: why the answer ended.
        usage: tokens of all model calls.
        warnings: what the caller should know.
        messages: what the model must read again in the next turn of a conversation.
        session_guid: the session that ran code last; None if there was none.
        may_write: whether code that ran there so far may write files.
    """

    output: str
    executions: tuple[Execution, ...]
    tool_calls: tuple[ToolUse, ...]
    files: tuple[File, ...]
    parts: tuple[str | File, ...]
    finish_reason: FinishReason
    usage: Usage
    warnings: tuple[TurnWarning, ...]
    messages: tuple[Message, ...]
    session_guid: str | None
    may_write: bool


class TurnRecord:
    """Adds up the events of one turn while they pass."""

    def __init__(self) -> None:
        self._executions: list[Execution] = []
        self._tool_calls: dict[str, ToolUse | None] = {}
        self._files: dict[str, File] = {}
        self._parts: list[list[str] | File] = []
        self._message_id: str | None = None

    def add(self, event: Event) -> None:
        """Take the next event."""
        match event:
            case TextDelta(message_id=message_id, text=text):
                last = self._parts[-1] if self._parts else None
                if isinstance(last, list) and self._message_id == message_id:
                    last.append(text)
                else:
                    self._message_id = message_id
                    self._parts.append([text])
            case ExecutionFinished(execution=execution):
                self._executions.append(execution)
            case ToolStarted(call_id=call_id):
                self._tool_calls[call_id] = None
            case ToolFinished(call_id=call_id, use=use):
                self._tool_calls[call_id] = use
            case FileCreated(file=file):
                self._files[file.name] = file
                self._parts.append(file)

    def result(self, finished: TurnFinished) -> TurnResult:
        """All of it, once the last event is there."""
        return TurnResult(
            output=finished.output,
            executions=tuple(self._executions),
            tool_calls=tuple(use for use in self._tool_calls.values() if use),
            files=tuple(self._files.values()),
            parts=tuple("".join(p) if isinstance(p, list) else p for p in self._parts),
            finish_reason=finished.finish_reason,
            usage=finished.usage,
            warnings=finished.warnings,
            messages=finished.messages,
            session_guid=finished.session_guid,
            may_write=finished.may_write,
        )


async def collect(events: TurnEvents) -> TurnResult:
    """Run a turn to its end and close it.

    Raises:
        AgentError: it has no answer.
    """
    record = TurnRecord()
    async with aclosing(events):
        async for event in events:
            match event:
                case TurnFinished():
                    return record.result(event)
                case TurnFailed(error=error):
                    raise error
            record.add(event)
    raise AssertionError("a turn ends with TurnFinished or TurnFailed")
