"""Spans for the SDK's processors and exporters, of which each is written once, when it has ended.

The SDK's own may be changed by anybody at any time until then, so each has a lock, and attributes
that are checked one by one: a turn's six took 0.25 ms of CPU. Ours are written by this package
alone. The operator's sampler decides where a trace enters the app; the spans below follow, as all
samplers of OTEL_TRACES_SAMPLER have it.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, Tracer, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
)

from agent.telemetry.recording import Attribute, Attributes

_SCOPE: Final = InstrumentationScope("agent", "")
_FAILED: Final = Status(StatusCode.ERROR)
# No span of ours has so many.
_ATTRIBUTES_MAX: Final = 64


class Span(ReadableSpan):
    """See agent.telemetry.recording.Span; read only when it has ended.

    Attributes:
        facts: what it says, once it has ended; SDK's `attributes` makes a view each time.
    """

    facts: Mapping[str, Any]

    def __init__(
        self,
        name: str,
        kind: SpanKind,
        context: SpanContext,
        parent: SpanContext | None,
        provider: TracerProvider,
        said: dict[str, Attribute] | None,
        *,
        began_ns: int | None = None,
    ) -> None:
        """Args: what it says until now; None where it is not recorded."""
        super().__init__(
            name,
            context,
            parent,
            provider.resource,
            kind=kind,
            start_time=began_ns or time.time_ns(),
            instrumentation_scope=_SCOPE,
        )
        self.ids = context
        self.is_recorded = said is not None
        self.said = said

    def end(self, attributes: BoundedAttributes | dict[str, Attribute], *, failed: bool) -> None:
        """It has ended, now."""
        self.said = None
        self._attributes = self.facts = attributes
        self._end_time = time.time_ns()
        if failed:
            self._status = _FAILED


class Spans:
    """See agent.telemetry.recording.Spans.

    Args:
        provider: has the sampler and the resource, and makes ids.
        ended: gets each span that has ended; a processor's `on_end`.
    """

    def __init__(self, provider: TracerProvider, ended: Callable[[ReadableSpan], None]) -> None:
        self._provider = provider
        self._sampler = provider.sampler
        self._ids = provider.id_generator
        self._ended = ended
        # OTEL_SDK_DISABLED
        self._is_on = isinstance(provider.get_tracer(_SCOPE.name), Tracer)
        # They read the standard variables.
        limits = SpanLimits()
        self._max = limits.max_span_attributes
        self._max_chars = limits.max_span_attribute_length
        self._is_limited = self._max_chars is not None or (
            self._max is not None and self._max < _ATTRIBUTES_MAX
        )

    def begin(
        self, name: str, kind: SpanKind, attributes: Attributes, parent: Context
    ) -> Span | None:
        """See Spans; None where the SDK is switched off."""
        if not self._is_on:
            return None
        above: SpanContext | None = get_current_span(parent).get_span_context()
        if above is not None and above.is_valid:
            trace_id, is_random = above.trace_id, above.trace_flags.random_trace_id
        else:
            above, trace_id = None, self._ids.generate_trace_id()
            is_random = self._ids.is_trace_id_random()
        sampled = self._sampler.should_sample(parent, trace_id, name, kind, attributes, ())
        is_sampled = sampled.decision is Decision.RECORD_AND_SAMPLE
        flags = TraceFlags.SAMPLED if is_sampled else TraceFlags.DEFAULT
        if is_random:
            flags |= TraceFlags.RANDOM_TRACE_ID
        ids = SpanContext(
            trace_id,
            self._ids.generate_span_id(),
            is_remote=False,
            trace_flags=TraceFlags(flags),
            trace_state=sampled.trace_state,
        )
        # The sampler may add some.
        said = dict(sampled.attributes or {}) if sampled.decision is not Decision.DROP else None
        return Span(name, kind, ids, above, self._provider, said)

    def begin_below(
        self, parent: Span, name: str, kind: SpanKind, began_ns: int | None = None
    ) -> Span:
        """See Spans."""
        above = parent.ids
        trace_id, _, _, flags, state, _ = above
        ids = SpanContext(trace_id, self._ids.generate_span_id(), False, flags, state)
        said: dict[str, Attribute] | None = {} if parent.is_recorded else None
        return Span(name, kind, ids, above, self._provider, said, began_ns=began_ns)

    def end(self, span: Span, *, failed: bool = False) -> None:
        """See Spans."""
        said = span.said
        if said is None:
            return
        if self._is_limited:
            span.end(
                BoundedAttributes(self._max, said, max_value_len=self._max_chars), failed=failed
            )
        else:
            span.end(said, failed=failed)
        self._ended(span)
