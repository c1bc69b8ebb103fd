"""Where spans and measurements go: to nobody, until `start` names somebody.

Libraries below us would put addresses with session identifiers on their own spans, so the app has a
tracer of its own and no global provider: what is exported was written in this package.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Protocol

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from agent.frozen import frozen

type Attribute = str | bool | int | float | tuple[str, ...]
type Attributes = Mapping[str, Attribute]

_PROPAGATOR: Final = TraceContextTextMapPropagator()


class Span(Protocol):
    """A span from its begin to its end.

    Attributes:
        ids: its own, its trace's, and whether that is sampled.
        said: what it says, to be added to until its end; None where nobody would read that: it is
            not recorded, or has ended.
    """

    ids: SpanContext
    said: dict[str, Attribute] | None


class Spans(Protocol):
    """Makes spans and takes its own back when they have ended; see agent/telemetry/tracing.py."""

    def begin(
        self, name: str, kind: SpanKind, attributes: Attributes, parent: Context
    ) -> Span | None:
        """One by which a trace enters the app, or begins; a sampler sees its attributes."""
        ...

    def begin_below(
        self, parent: Any, name: str, kind: SpanKind, began_ns: int | None = None
    ) -> Span:
        """One that hangs on another of the app's, and is recorded if that is."""
        ...

    def end(self, span: Any, *, failed: bool = False) -> None:
        """It has ended, now."""
        ...


@frozen
class Recording:
    """Somebody who takes spans and measurements.

    Attributes:
        spans: makes and takes them.
        measure: takes the name of a metric, a value and its attributes.
        turn_ended: called when a turn has ended.
        content: whether questions, code, outputs and answers are put on spans.
    """

    spans: Spans
    measure: Callable[[str, float, Attributes], None]
    turn_ended: Callable[[], None] = lambda: None
    content: bool = False


@dataclass(slots=True)
class Spent:
    """What a turn did and how long its parts took.

    Attributes:
        model_s: time in model calls.
        pool_s: time in calls of the session pool; of calls at the same time, each counts.
        store_s: time in calls of the conversations' store.
        model_calls: how many there were.
        tool_calls: how many there were.
    """

    model_s: float = 0
    pool_s: float = 0
    store_s: float = 0
    model_calls: int = 0
    tool_calls: int = 0


class Work:
    """What is being done: a turn, or a call of it.

    Attributes:
        spent: of the turn; None where it is done for no turn.
        span: of the work, on which the spans of its parts hang; None where nothing is recorded.
    """

    spent: Spent | None
    span: Span | None

    def say(self, name: str, value: Attribute) -> None:
        """Put an attribute on its span."""
        if self.span is not None and self.span.said is not None:
            self.span.said[name] = value


_recording: Recording | None = None
# A generator that sets it must set it back before it yields: its caller would go on with it.
# Semantic Kernel makes spans that nobody takes current, also below ours: OpenTelemetry's own
# current span may be one of them.
doing: Final[ContextVar[Work | None]] = ContextVar("doing", default=None)


def start(recording: Recording) -> None:
    """Send what happens from now on to `recording`."""
    global _recording  # noqa: PLW0603 - a worker has one, set when it starts and read wherever something is recorded, like its log
    _recording = recording


def stop() -> None:
    """Record nothing any more."""
    global _recording  # noqa: PLW0603 - takes back the worker's one, which `start` has set
    _recording = None


def begin(name: str, kind: SpanKind, began_ns: int | None = None) -> Span | None:
    """A span of what is done now; None where nothing is recorded.

    Args:
        name: of the span.
        kind: of the span.
        began_ns: since the epoch, if not now.
    """
    if _recording is None:
        return None
    work = doing.get()
    if work is None or work.span is None:
        return _recording.spans.begin(name, kind, {}, context.get_current())
    return _recording.spans.begin_below(work.span, name, kind, began_ns)


def begin_turn(name: str, attributes: Attributes, parent: Context | None) -> Span | None:
    """A span of a turn, which hangs on its request; None where nothing is recorded."""
    if _recording is None:
        return None
    return _recording.spans.begin(name, SpanKind.INTERNAL, attributes, parent or Context())


def end(span: Span, *, failed: bool = False) -> None:
    """The span has ended; what is said on it from now on is lost."""
    if _recording is not None:
        _recording.spans.end(span, failed=failed)


def request_parent() -> Context | None:
    """Where the span of a turn hangs that is asked for now; None where nothing is recorded."""
    return None if _recording is None else context.get_current()


def measure(name: str, value: float = 1, attributes: Attributes | None = None) -> None:
    """Add to a metric; agent/telemetry/metrics.py has them all."""
    if _recording is not None:
        _recording.measure(name, value, attributes or {})


def tell_turn_ended() -> None:
    """Say that a turn has ended: what was put off until then may be done."""
    if _recording is not None:
        _recording.turn_ended()


def annotate(attributes: Callable[[], Attributes]) -> None:
    """Put attributes on the current span; they are only made where it is recorded."""
    work = doing.get() if _recording else None
    if work is not None and work.span is not None and work.span.said is not None:
        work.span.said.update(attributes())


def takes_content() -> bool:
    """Whether the operator wants something private on spans."""
    return _recording is not None and _recording.content


def outgoing_headers() -> dict[str, str]:
    """The headers by which a service continues this trace; none where nothing is recorded.

    https://www.w3.org/TR/trace-context/
    """
    work = doing.get() if _recording else None
    if work is None or work.span is None:
        return {}
    trace_id, span_id, _, flags, state, _ = work.span.ids
    headers = {"traceparent": f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}"}
    if state:
        headers["tracestate"] = state.to_header()
    return headers


def current_trace_id() -> str:
    """Of the trace that somebody has attached; empty without one."""
    span_context = trace.get_current_span().get_span_context()
    return f"{span_context.trace_id:032x}" if span_context.is_valid else ""


def parent_of(headers: Mapping[str, str]) -> Context | None:
    """The context of an incoming request, where nobody has attached it already.

    On Azure the worker has: PYTHON_ENABLE_OPENTELEMETRY makes it. Whether anything is recorded is
    not asked: a worker's first request begins before the settings are read.
    """
    if "traceparent" not in headers or trace.get_current_span().get_span_context().is_valid:
        return None
    return _PROPAGATOR.extract(headers)
