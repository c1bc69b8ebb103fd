"""One turn: its span `invoke_agent`, its metrics, and its one line in the log."""

import hashlib
import logging
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from opentelemetry import context
from opentelemetry.trace import SpanKind

from agent.errors import ConversationBusyError
from agent.events import Event, FileCreated, TurnFinished, Usage
from agent.telemetry import metrics, recording
from agent.telemetry.logs import logger
from agent.telemetry.recording import Attribute, Attributes, Heading, Spent, Work, doing

AGENT: Final = "code-interpreter"
PROVIDER: Final = "azure.ai.openai"
# Of a turn whose caller left before it had an answer.
ABANDONED: Final = "abandoned"
_HASH_CHARS: Final = 16
_FACTS: Final[Attributes] = {
    "gen_ai.operation.name": "invoke_agent",
    "gen_ai.provider.name": PROVIDER,
    "gen_ai.agent.name": AGENT,
}
_HEADING: Final = Heading(f"invoke_agent {AGENT}", SpanKind.INTERNAL, _FACTS)

_operation_id: ContextVar[str] = ContextVar("operation_id", default="")


@contextmanager
def request_context(headers: Mapping[str, str], operation_id: str) -> Iterator[None]:
    """While the block runs, turns that begin belong to this request.

    Args:
        headers: of the request; its `traceparent` is continued.
        operation_id: by which a problem names the request.
    """
    operation = _operation_id.set(operation_id)
    parent = recording.parent_of(headers)
    attached = None if parent is None else context.attach(parent)
    try:
        yield
    finally:
        if attached is not None:
            context.detach(attached)
        _operation_id.reset(operation)


def hashed(conversation_id: str) -> str:
    """A name for a conversation that does not let its holder in."""
    return hashlib.sha256(conversation_id.encode()).hexdigest()[:_HASH_CHARS]


class TurnTelemetry(Work):
    """What one turn did and how long its parts took; made while its request is being answered."""

    def __init__(self) -> None:
        self.spent = self._spent = Spent()
        self._operation_id = _operation_id.get()
        self._parent = recording.request_parent()
        self._began_ns: int | None = None
        self._usage = Usage()
        self._outcome: str = ABANDONED
        self._error_code = ""
        self._detail = ""
        self._ended = False

    def begin(self) -> None:
        """The turn begins: time counts from the first call."""
        if self._began_ns is None:
            self._began_ns = time.monotonic_ns()
            self.span = recording.begin_turn(_HEADING, self._parent, self._began_ns)

    def belongs_to(self, conversation_id: str) -> None:
        """Name its conversation."""
        self.conversation = hashed(conversation_id)

    async def within[T](self, events: AsyncGenerator[T]) -> AsyncGenerator[T]:
        """The same events, each of them made for this turn; whoever closes this closes them."""
        self.begin()
        try:
            while True:
                before = doing.set(self)
                try:
                    event = await anext(events)
                except StopAsyncIteration:
                    return
                finally:
                    doing.reset(before)
                yield event
        finally:
            with self.current():
                await events.aclose()

    def add(self, event: Event) -> None:
        """Take the next event of the turn."""
        match event:
            case TurnFinished():
                self._outcome, self._usage = event.finish_reason, event.usage
                lost = sum(warning.code == "SessionLost" for warning in event.warnings)
                if lost:
                    recording.measure({metrics.SESSIONS_LOST: lost})
            case FileCreated():
                origin = {"code_interpreter.file.origin": "turn"}
                recording.measure({metrics.FILE_BYTES: event.file.size_bytes}, origin)

    def failed(self, code: str, detail: str) -> None:
        """The turn has no answer."""
        self._outcome, self._error_code, self._detail = "failed", code, detail
        if code == ConversationBusyError.code:
            recording.measure({metrics.CONVERSATIONS_BUSY: 1})

    def end(self) -> None:
        """The turn has ended; what is called after the first time does nothing."""
        if self._ended or self._began_ns is None:
            return
        self._ended = True
        ended_ns = time.monotonic_ns()
        took_s = (ended_ns - self._began_ns) / 1e9
        self._log(took_s)
        if self.span is None:
            return
        self._measure(took_s)
        if self.span.said is not None:
            self._say_all(self.span.said)
        self.span.end(ended_ns, failed=bool(self._error_code))
        recording.tell_answered()

    def _say_all(self, said: dict[str, Attribute]) -> None:
        said["code_interpreter.outcome"] = self._outcome
        said["gen_ai.usage.input_tokens"] = self._usage.prompt_tokens
        said["gen_ai.usage.output_tokens"] = self._usage.completion_tokens
        if self._spent.store_s:
            # A folder's calls are no spans.
            said["code_interpreter.store_ms"] = _ms(self._spent.store_s)
        if self.conversation:
            said["gen_ai.conversation.id"] = self.conversation
        if self._error_code:
            said["error.type"] = self._error_code

    def _measure(self, took_s: float) -> None:
        duration = {metrics.AGENT_DURATION: took_s}
        calls = {
            metrics.AGENT_INFERENCE_CALLS: self._spent.model_calls,
            metrics.AGENT_TOOL_CALLS: self._spent.tool_calls,
        }
        outcome = {"code_interpreter.outcome": self._outcome}
        if self._error_code:
            error = {"error.type": self._error_code}
            recording.measure({metrics.TURNS: 1}, {**outcome, **error})
            recording.measure(duration, {**_FACTS, **error})
            recording.measure(calls, _FACTS)
        else:
            recording.measure({metrics.TURNS: 1}, outcome)
            recording.measure(duration | calls, _FACTS)

    def _log(self, took_s: float) -> None:
        spent, usage = self._spent, self._usage
        code = f" code={self._error_code}" if self._error_code else ""
        operation = f" operation_id={self._operation_id}" if self._operation_id else ""
        trace = f" trace_id={self.span.trace_id}" if self.span else ""
        conversation = f" conversation={self.conversation}" if self.conversation else ""
        line = (
            f"outcome={self._outcome}{code}{operation}{trace}{conversation}"
            f" total_ms={_ms(took_s)} model_ms={_ms(spent.model_s)} pool_ms={_ms(spent.pool_s)}"
            f" store_ms={_ms(spent.store_s)}"
            f" model_calls={spent.model_calls} tool_calls={spent.tool_calls}"
            f" input_tokens={usage.prompt_tokens} output_tokens={usage.completion_tokens}"
        )
        level = logging.WARNING if self._error_code else logging.INFO
        # The detail may have any words, so it is the last.
        logger.log(level, "turn %s%s", line, f" detail={self._detail}" if self._detail else "")


def _ms(seconds: float) -> int:
    return round(seconds * 1e3)
