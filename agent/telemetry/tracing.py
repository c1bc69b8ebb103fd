"""Spans as the app keeps them: of each what it alone has, until it is exported.

The SDK's own may be changed by anybody at any time until they end, so each has a lock, and
attributes that are checked one by one: a turn's six took 0.25 ms of CPU. Ours are written by this
package alone. The operator's sampler decides where a trace enters the app; the spans below follow,
as all samplers of OTEL_TRACES_SAMPLER have it.
"""

import time
from collections.abc import Callable
from random import getrandbits
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, Tracer, TracerProvider
from opentelemetry.sdk.trace.sampling import (
    DEFAULT_ON,
    Decision,
    ParentBasedTraceIdRatio,
    Sampler,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    get_current_span,
)

from agent.telemetry.recording import Attribute, Attributes, Heading

_SCOPE: Final = InstrumentationScope("agent", "")
# They leave out no trace but one whose caller says so.
_SAMPLE_ALL: Final[tuple[Sampler, ...]] = (DEFAULT_ON, ParentBasedTraceIdRatio(1.0))
# By whether a trace is sampled, and whether its id is random.
_FLAGS: Final = {
    (is_sampled, is_random): TraceFlags(
        is_sampled * TraceFlags.SAMPLED | is_random * TraceFlags.RANDOM_TRACE_ID
    )
    for is_sampled in (False, True)
    for is_random in (False, True)
}
# No span of ours has so many.
_ATTRIBUTES_MAX: Final = 64


class Trace:
    """What the app's spans of a trace have in common.

    Args:
        spans: that they belong to.
        number: its id.
        above: the span of somebody else that ours hang on.
        flags: whether it is sampled, and more.
        state: what other systems said of it.

    Attributes:
        id: as it is written, 32 hexadecimal digits.
        is_sampled: whether its spans are exported.
        epoch_ns: what makes of time.monotonic_ns the time since the epoch.
    """

    __slots__ = ("above", "epoch_ns", "flags", "id", "is_sampled", "number", "spans", "state")

    def __init__(
        self,
        spans: "Spans",
        number: int,
        above: SpanContext | None,
        flags: TraceFlags,
        state: TraceState | None,
    ) -> None:
        self.spans = spans
        self.number = number
        self.id = f"{number:032x}"
        self.above = above
        self.flags = flags
        self.state = state
        self.is_sampled = flags.sampled
        self.epoch_ns = time.time_ns() - time.monotonic_ns()

    def context_of(self, span_id: int) -> SpanContext:
        """Of a span of the app."""
        return SpanContext(self.number, span_id, False, self.flags, self.state)


class Span:
    """See agent.telemetry.recording.Span.

    Args:
        heading: what it shares with others.
        trace: it belongs to.
        above: the id of the span that it hangs on; 0 where it is the first of its trace.
        said: what it says until now; None where it is not recorded.
        began_ns: by time.monotonic_ns.

    Attributes:
        number: its id.
        facts: what it says besides its heading, once it has ended.
        ended_ns: by time.monotonic_ns.
        failed: whether what it is of failed.
    """

    __slots__ = (
        "above",
        "began_ns",
        "ended_ns",
        "facts",
        "failed",
        "heading",
        "number",
        "said",
        "trace",
    )

    def __init__(
        self,
        heading: Heading,
        trace: Trace,
        above: int,
        said: dict[str, Attribute] | None,
        began_ns: int,
    ) -> None:
        self.heading = heading
        self.trace = trace
        self.number = getrandbits(64) or 1
        self.above = above
        self.said = said
        self.began_ns = began_ns

    @property
    def trace_id(self) -> str:
        """See Span."""
        return self.trace.id

    def below(self, heading: Heading, began_ns: int) -> "Span":
        """See Span."""
        trace = self.trace
        return Span(heading, trace, self.number, {} if trace.is_sampled else None, began_ns)

    def end(self, ended_ns: int, *, failed: bool) -> None:
        """See Span."""
        said = self.said
        if said is None:
            return
        self.said, self.facts, self.ended_ns, self.failed = None, said, ended_ns, failed
        spans = self.trace.spans
        if spans.limits:
            spans.limits.hold(self)
        spans.ended(self)

    def headers(self) -> dict[str, str]:
        """See Span; https://www.w3.org/TR/trace-context/."""
        trace = self.trace
        headers = {"traceparent": f"00-{trace.id}-{self.number:016x}-{trace.flags:02x}"}
        if trace.state:
            headers["tracestate"] = trace.state.to_header()
        return headers

    def context(self) -> SpanContext:
        """See Span."""
        return self.trace.context_of(self.number)

    @property
    def attributes(self) -> Attributes:
        """All that it says, once it has ended."""
        return {**self.heading.attributes, **self.facts} if self.facts else self.heading.attributes

    def readable(self, resource: Resource) -> ReadableSpan:
        """The same, once it has ended, as the SDK's exporters read it."""
        trace, above = self.trace, self.trace.above
        if above is None or self.above != above.span_id:
            above = trace.context_of(self.above) if self.above else None
        return ReadableSpan(
            self.heading.name,
            self.context(),
            above,
            resource,
            self.attributes,
            kind=self.heading.kind,
            status=Status(StatusCode.ERROR if self.failed else StatusCode.UNSET),
            start_time=trace.epoch_ns + self.began_ns,
            end_time=trace.epoch_ns + self.ended_ns,
            instrumentation_scope=_SCOPE,
        )


class _Limits:
    """What the operator's variables allow a span to say."""

    def __init__(self) -> None:
        limits = SpanLimits()
        self._count = limits.max_span_attributes
        self._length = limits.max_span_attribute_length
        self.bind = self._length is not None or (
            self._count is not None and self._count < _ATTRIBUTES_MAX
        )

    def hold(self, span: Span) -> None:
        """Take from a span that has ended what it may not say."""
        bounded: Any = BoundedAttributes(self._count, span.attributes, max_value_len=self._length)
        span.heading, span.facts = Heading(span.heading.name, span.heading.kind, bounded), {}


class Spans:
    """Makes the spans of a process.

    Args:
        provider: has the sampler.
        ended: gets each sampled span that has ended; another one may be put in its place.
    """

    def __init__(self, provider: TracerProvider, ended: Callable[[Span], None]) -> None:
        self._sampler = provider.sampler
        # Most apps have such a one, which takes twice the time of all else here.
        known = [sampler.get_description() for sampler in _SAMPLE_ALL]
        self._samples_all = provider.sampler.get_description() in known
        self.ended = ended
        limits = _Limits()
        self.limits = limits if limits.bind else None
        # OTEL_SDK_DISABLED
        self._is_on = isinstance(provider.get_tracer(_SCOPE.name), Tracer)

    def begin(self, heading: Heading, parent: Context, began_ns: int) -> Span | None:
        """See Recording."""
        if not self._is_on:
            return None
        # Most have none.
        above = get_current_span(parent).get_span_context() if parent else None
        if above is not None and above.is_valid:
            number, is_random = above.trace_id, above.trace_flags.random_trace_id
        else:
            above, number, is_random = None, getrandbits(128) or 1, True
        said: dict[str, Attribute] = {}
        if self._samples_all:
            is_sampled = above is None or above.trace_flags.sampled
            state = above.trace_state if above else None
        else:
            known = heading.attributes
            sampled = self._sampler.should_sample(
                parent, number, heading.name, heading.kind, known, ()
            )
            is_sampled = sampled.decision is Decision.RECORD_AND_SAMPLE
            state = sampled.trace_state
            # The sampler may add some.
            said |= {k: v for k, v in (sampled.attributes or {}).items() if k not in known}
        trace = Trace(self, number, above, _FLAGS[is_sampled, is_random], state)
        return Span(
            heading, trace, above.span_id if above else 0, said if is_sampled else None, began_ns
        )
