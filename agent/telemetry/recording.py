"""Where spans and measurements go: to nobody, until `start` names somebody.

Libraries below us would put addresses with session identifiers on their own spans, so the app has a
tracer of its own and no global provider: what is exported was written in this package.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Protocol

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from agent.frozen import frozen

type Attribute = str | bool | int | float | tuple[str, ...]
type Attributes = Mapping[str, Attribute]
type Measurement = tuple[Mapping[str, float], Attributes]

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_NO_ATTRIBUTES: Final[Attributes] = MappingProxyType({})


class Heading:
    """What is known of a span before it begins: the same for all that begin alike.

    Attributes:
        name: of the spans.
        kind: of the spans.
        attributes: that all of them have.
        written: what is made of these for all of them, once; for whoever exports.
    """

    __slots__ = ("attributes", "kind", "name", "written")

    def __init__(self, name: str, kind: SpanKind, attributes: Attributes) -> None:
        self.name = name
        self.kind = kind
        self.attributes = attributes
        self.written: Any = None


class Span(Protocol):
    """A span from its begin to its end; see agent/telemetry/tracing.py.

    Attributes:
        said: what it says besides its heading, to be added to until its end; None where nobody
            would read that: it is not recorded, or has ended.
    """

    said: dict[str, Attribute] | None

    @property
    def trace_id(self) -> str:
        """Of its trace, 32 hexadecimal digits."""
        ...

    def below(self, heading: Heading, began_ns: int) -> "Span":
        """One that hangs on this, and is recorded if this is; it began by time.monotonic_ns."""
        ...

    def end(self, ended_ns: int, *, failed: bool) -> None:
        """It has ended by time.monotonic_ns; what is said on it from now on is lost."""
        ...

    def headers(self) -> dict[str, str]:
        """By which a service continues the trace below it."""
        ...

    def context(self) -> SpanContext:
        """Under which other libraries know it."""
        ...


@frozen
class Recording:
    """Somebody who takes spans and measurements.

    Attributes:
        begin: makes a span by which a trace enters the app, or begins: a sampler sees its heading.
            None where there are to be no spans.
        measure: takes values, by the name of their metric, and the attributes of all of them.
        answered: called when a request has its answer: what was put off may be done.
        content: whether questions, code, outputs and answers are put on spans.
    """

    begin: Callable[[Heading, Context, int], Span | None]
    measure: Callable[[Measurement], None]
    answered: Callable[[], None] = lambda: None
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
        conversation: of the turn, hashed; empty where it has none.
        span: of the work, on which the spans of its parts hang; None where nothing is recorded.
    """

    spent: Spent | None = None
    conversation: str = ""
    span: Span | None = None

    def current(self) -> AbstractContextManager[None]:
        """While the block runs, what is done is done for this work."""
        return _Current(self)

    def say(self, name: str, value: Attribute) -> None:
        """Put an attribute on its span."""
        if self.span is not None and self.span.said is not None:
            self.span.said[name] = value


_recording: Recording | None = None
# A generator that sets it must set it back before it yields: its caller would go on with it.
# Semantic Kernel makes spans that nobody takes current, also below ours: OpenTelemetry's own
# current span may be one of them.
doing: Final[ContextVar[Work | None]] = ContextVar("doing", default=None)


class _Current:
    """What `contextmanager` would make of a generator, in half the time."""

    __slots__ = ("_before", "_work")

    def __init__(self, work: Work) -> None:
        self._work = work

    def __enter__(self) -> None:
        self._before = doing.set(self._work)

    def __exit__(self, *_: object) -> None:
        doing.reset(self._before)


def start(recording: Recording) -> None:
    """Send what happens from now on to `recording`."""
    global _recording  # noqa: PLW0603 - a worker has one, set when it starts and read wherever something is recorded, like its log
    _recording = recording


def stop() -> None:
    """Record nothing any more."""
    global _recording  # noqa: PLW0603 - takes back the worker's one, which `start` has set
    _recording = None


def begin(heading: Heading, work: Work | None, began_ns: int) -> Span | None:
    """A span of a part of what is done; None where nothing is recorded.

    Args:
        heading: of the span.
        work: that it is a part of.
        began_ns: by time.monotonic_ns.
    """
    if work is not None and work.span is not None:
        return work.span.below(heading, began_ns)
    return _recording.begin(heading, context.get_current(), began_ns) if _recording else None


def begin_turn(heading: Heading, parent: Context | None, began_ns: int) -> Span | None:
    """A span of a turn, which hangs on its request; None where nothing is recorded."""
    return _recording.begin(heading, parent or Context(), began_ns) if _recording else None


def request_parent() -> Context | None:
    """Where the span of a turn hangs that is asked for now; None where nothing is recorded."""
    return None if _recording is None else context.get_current()


def measure(values: Mapping[str, float], attributes: Attributes = _NO_ATTRIBUTES) -> None:
    """Add values to metrics, by their names; agent/telemetry/metrics.py has them all."""
    if _recording is not None:
        _recording.measure((values, attributes))


def tell_answered() -> None:
    """Say that a request has its answer: what was put off until then may be done."""
    if _recording is not None:
        _recording.answered()


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
    return {} if work is None or work.span is None else work.span.headers()


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
