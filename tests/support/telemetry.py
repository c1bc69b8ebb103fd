"""What the agent records, in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

from agent.telemetry import recording
from agent.telemetry.recording import Attributes, Measurement, Recording
from agent.telemetry.tracing import Span, Spans

# As infra/ has it: Azure Monitor's exporter sends nothing about itself.
QUIET_EXPORTERS: Final = {
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
}
RESOURCE: Final = Resource({"service.name": "tests"})


@dataclass
class Recorded:
    """Spans and measurements, in the order in which they ended."""

    ended: list[Span] = field(default_factory=list)
    measurements: list[tuple[str, float, Attributes]] = field(default_factory=list)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """All that have ended."""
        return tuple(span.readable(RESOURCE) for span in self.ended)

    def named(self, name: str) -> list[ReadableSpan]:
        """Those of this name."""
        return [span for span in self.spans if span.name == name]

    def tree(self) -> list[str]:
        """The names, each below and behind the span that it hangs on."""
        children: dict[int | None, list[ReadableSpan]] = {}
        ids = {span.context.span_id for span in self.spans if span.context}
        for span in sorted(self.spans, key=lambda span: span.start_time or 0):
            parent = span.parent.span_id if span.parent and span.parent.span_id in ids else None
            children.setdefault(parent, []).append(span)

        def lines(parent: int | None, depth: int) -> Iterator[str]:
            for span in children.get(parent, []):
                yield f"{'  ' * depth}{span.name}"
                assert span.context
                yield from lines(span.context.span_id, depth + 1)

        return list(lines(None, 0))

    def values(self, name: str) -> list[float]:
        """What was measured of a metric."""
        return [value for metric, value, _ in self.measurements if metric == name]


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    """The attributes of a span that has some."""
    return dict(span.attributes or {})


@contextmanager
def recorded(*, content: bool = False) -> Iterator[Recorded]:
    """While the block runs, the agent records to memory."""
    taken = Recorded()
    provider = TracerProvider(shutdown_on_exit=False)
    spans = Spans(provider, taken.ended.append)

    def measure(measurement: Measurement) -> None:
        values, attributes = measurement
        taken.measurements += [(name, value, attributes) for name, value in values.items()]

    recording.start(Recording(spans.begin, measure, content=content))
    try:
        yield taken
    finally:
        recording.stop()
