"""Where spans and measurements go: to nobody, until `start` names somebody.

Libraries below us would put addresses with session identifiers on their own spans, so the app has a
tracer of its own and no global provider: what is exported was written in this package.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Final

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

type Attribute = str | bool | int | float | tuple[str, ...]
type Attributes = Mapping[str, Attribute]

_PROPAGATOR: Final = TraceContextTextMapPropagator()


@dataclass(frozen=True, slots=True)
class Recording:
    """Somebody who takes spans and measurements.

    Attributes:
        tracer: makes spans.
        measure: takes the name of a metric, a value and its attributes.
        turn_ended: called when a turn has ended.
        content: whether questions, code, outputs and answers are put on spans.
    """

    tracer: Tracer
    measure: Callable[[str, float, Attributes], None]
    turn_ended: Callable[[], None] = lambda: None
    content: bool = False


_recording: Recording | None = None
# Semantic Kernel makes spans that nobody takes current, also below ours: OpenTelemetry's own
# current span may be one of them.
_current_span: ContextVar[Span] = ContextVar("span", default=INVALID_SPAN)


def start(recording: Recording) -> None:
    """Send what happens from now on to `recording`."""
    global _recording  # noqa: PLW0603 - one per worker, like the log
    _recording = recording


def stop() -> None:
    """Record nothing any more."""
    global _recording  # noqa: PLW0603 - one per worker
    _recording = None


def open_span(
    name: str,
    kind: SpanKind,
    attributes: Attributes,
    parent: Context | None = None,
    began_ns: int | None = None,
) -> Span:
    """A span that the caller ends; one that does nothing where nothing is recorded.

    Args:
        name: of the span.
        kind: of the span.
        attributes: known from the start, so that a sampler can see them.
        parent: where it hangs, if not on the current span.
        began_ns: since the epoch, if not now.
    """
    if _recording is None:
        return INVALID_SPAN
    return _recording.tracer.start_span(name, parent, kind, attributes, start_time=began_ns)


class current:
    """While the block runs, new spans hang on `span`; it may be entered again after it was left.

    A generator must not yield inside: the block would be left in another context.
    """

    __slots__ = ("_attached", "_context", "_set", "_span")

    def __init__(self, span: Span) -> None:
        self._span = span
        self._context: Context | None = None
        self._attached: Token[Context] | None = None
        self._set: Token[Span] | None = None

    def __enter__(self) -> None:
        if self._span is not INVALID_SPAN:
            if self._context is None:
                self._context = trace.set_span_in_context(self._span)
            self._attached = context.attach(self._context)
            self._set = _current_span.set(self._span)

    def __exit__(self, *_: object) -> None:
        if self._attached is not None and self._set is not None:
            _current_span.reset(self._set)
            context.detach(self._attached)


def measure(name: str, value: float = 1, attributes: Attributes | None = None) -> None:
    """Add to a metric; agent/telemetry/metrics.py has them all."""
    if _recording is not None:
        _recording.measure(name, value, attributes or {})


def tell_turn_ended() -> None:
    """Say that a turn has ended: what was put off until then may be done."""
    if _recording is not None:
        _recording.turn_ended()


def annotate(attributes: Callable[[], Attributes]) -> None:
    """Put attributes on the current span; they are only made where something is recorded."""
    if _recording is not None:
        span = _current_span.get()
        if span.is_recording():
            span.set_attributes(attributes())


def annotate_with_content(attributes: Callable[[], Attributes]) -> None:
    """Put something private on the current span, if the operator wants that."""
    if _recording is not None and _recording.content:
        annotate(attributes)


def outgoing_headers() -> dict[str, str]:
    """The headers by which a service continues this trace; none where nothing is recorded."""
    headers: dict[str, str] = {}
    if _recording is not None:
        _PROPAGATOR.inject(headers)
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
