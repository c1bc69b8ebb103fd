"""One turn: its span `invoke_agent`, its metrics, and its one line in the log."""

import hashlib
import logging
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, Token
from typing import Final

from opentelemetry import context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, Status, StatusCode

from agent.errors import ConversationBusyError
from agent.events import Event, FileCreated, TurnFailed, TurnFinished, Usage
from agent.telemetry import metrics, recording
from agent.telemetry.logs import logger
from agent.telemetry.recording import Attribute

AGENT: Final = "code-interpreter"
PROVIDER: Final = "azure.ai.openai"
# Of a turn whose caller left before it had an answer.
ABANDONED: Final = "abandoned"
_HASH_CHARS: Final = 16
_FACTS: Final[dict[str, Attribute]] = {
    "gen_ai.operation.name": "invoke_agent",
    "gen_ai.provider.name": PROVIDER,
    "gen_ai.agent.name": AGENT,
}

_operation_id: ContextVar[str] = ContextVar("operation_id", default="")
_turn: ContextVar["TurnTelemetry | None"] = ContextVar("turn", default=None)


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


def current_turn() -> "TurnTelemetry | None":
    """The turn that this code works for."""
    return _turn.get()


def hashed(conversation_id: str) -> str:
    """A name for a conversation that does not let its holder in."""
    return hashlib.sha256(conversation_id.encode()).hexdigest()[:_HASH_CHARS]


class TurnTelemetry:
    """What one turn did and how long its parts took; made while its request is being answered.

    Attributes:
        model_s: time in model calls.
        pool_s: time in calls of the session pool; of calls at the same time, each counts.
        store_s: time in calls of the conversations' store.
        model_calls: how many there were.
        tool_calls: how many there were.
    """

    def __init__(self) -> None:
        self.model_s = self.pool_s = self.store_s = 0.0
        self.model_calls = self.tool_calls = 0
        self._operation_id = _operation_id.get()
        self._parent = context.get_current()
        self._span: Span | None = None
        self._current = _Current(self, INVALID_SPAN)
        self._began_s = 0.0
        self._conversation = ""
        self._usage = Usage()
        self._outcome: str = ABANDONED
        self._error_code = ""
        self._detail = ""
        self._ended = False

    def begin(self) -> None:
        """The turn begins: time counts from the first call."""
        if self._span is None:
            self._began_s = time.monotonic()
            self._span = recording.open_span(
                f"invoke_agent {AGENT}", SpanKind.INTERNAL, _FACTS, self._parent
            )
            self._current = _Current(self, self._span)

    def belongs_to(self, conversation_id: str) -> None:
        """Name its conversation."""
        self._conversation = hashed(conversation_id)

    def current(self) -> AbstractContextManager[None]:
        """While a block of it runs, what is done is done for this turn; blocks do not nest."""
        return self._current

    async def within[T](self, events: AsyncGenerator[T]) -> AsyncGenerator[T]:
        """The same events, each of them made for this turn; whoever closes this closes them."""
        self.begin()
        try:
            while True:
                with self.current():
                    try:
                        event = await anext(events)
                    except StopAsyncIteration:
                        return
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
                    recording.measure(metrics.SESSIONS_LOST, lost)
            case TurnFailed():
                self.failed(event.error.code, event.error.detail)
            case FileCreated():
                origin = {"code_interpreter.file.origin": "turn"}
                recording.measure(metrics.FILE_BYTES, event.file.size_bytes, origin)

    def failed(self, code: str, detail: str) -> None:
        """The turn has no answer."""
        self._outcome, self._error_code, self._detail = "failed", code, detail
        if code == ConversationBusyError.code:
            recording.measure(metrics.CONVERSATIONS_BUSY)

    def end(self) -> None:
        """The turn has ended; what is called after the first time does nothing."""
        if self._ended or self._span is None:
            return
        self._ended = True
        took_s = time.monotonic() - self._began_s
        self._log(took_s)
        self._measure(took_s)
        if self._span.is_recording():
            self._span.set_attributes(self._attributes())
            if self._error_code:
                self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()
        recording.tell_turn_ended()

    def _attributes(self) -> dict[str, Attribute]:
        attributes: dict[str, Attribute] = {
            "code_interpreter.outcome": self._outcome,
            "gen_ai.usage.input_tokens": self._usage.prompt_tokens,
            "gen_ai.usage.output_tokens": self._usage.completion_tokens,
        }
        if self.store_s:
            # A folder's calls are no spans.
            attributes["code_interpreter.store_ms"] = _ms(self.store_s)
        if self._conversation:
            attributes["gen_ai.conversation.id"] = self._conversation
        if self._error_code:
            attributes["error.type"] = self._error_code
        return attributes

    def _measure(self, took_s: float) -> None:
        error: dict[str, Attribute] = {"error.type": self._error_code} if self._error_code else {}
        recording.measure(metrics.TURNS, 1, {"code_interpreter.outcome": self._outcome, **error})
        recording.measure(metrics.AGENT_DURATION, took_s, _FACTS | error)
        recording.measure(metrics.AGENT_INFERENCE_CALLS, self.model_calls, _FACTS)
        recording.measure(metrics.AGENT_TOOL_CALLS, self.tool_calls, _FACTS)

    def _log(self, took_s: float) -> None:
        trace_id = self._span.get_span_context().trace_id if self._span else 0
        facts = {
            "outcome": self._outcome,
            "code": self._error_code,
            "operation_id": self._operation_id,
            "trace_id": f"{trace_id:032x}" if trace_id else "",
            "conversation": self._conversation,
            "total_ms": _ms(took_s),
            "model_ms": _ms(self.model_s),
            "pool_ms": _ms(self.pool_s),
            "store_ms": _ms(self.store_s),
            "model_calls": self.model_calls,
            "tool_calls": self.tool_calls,
            "input_tokens": self._usage.prompt_tokens,
            "output_tokens": self._usage.completion_tokens,
        }
        line = " ".join(f"{name}={value}" for name, value in facts.items() if value != "")
        level = logging.WARNING if self._error_code else logging.INFO
        # The detail may have any words, so it is the last.
        logger.log(level, "turn %s%s", line, f" detail={self._detail}" if self._detail else "")


class _Current(AbstractContextManager[None]):
    """See TurnTelemetry.current; a turn enters it for each of its events."""

    def __init__(self, turn: TurnTelemetry, span: Span) -> None:
        self._turn = turn
        self._span = recording.current(span)
        self._set: Token[TurnTelemetry | None] | None = None

    def __enter__(self) -> None:
        self._set = _turn.set(self._turn)
        self._span.__enter__()

    def __exit__(self, *_: object) -> None:
        self._span.__exit__()
        if self._set is not None:
            _turn.reset(self._set)


def _ms(seconds: float) -> int:
    return round(seconds * 1e3)
