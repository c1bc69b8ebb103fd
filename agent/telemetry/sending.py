"""The exporters and the SDK's parts around them; importing this takes as long as they take."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from threading import Lock
from typing import Any, Final, Literal

from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from agent.lazy_reexports import lazy_reexports
from agent.telemetry.exporting import Destinations, Measure
from agent.telemetry.logs import logger
from agent.telemetry.metrics import AGENT_DURATION, METRICS, Metric
from agent.telemetry.totals import SCOPE, Spreads, Sums
from agent.telemetry.tracing import Span

# As the conventions advise: of calls, of turns, of how many calls a turn makes.
_OF_CALLS: Final = tuple(0.01 * 2**number for number in range(14))
_OF_TURNS: Final = tuple(0.1 * 2**number for number in range(13))
_OF_COUNTS: Final = tuple(2.0**number for number in range(8))
_AZURE_MONITOR: Final = "agent.telemetry.azure_monitor"
_OTLP: Final = "agent.telemetry.otlp"


class _Reach:
    """Logs when a destination stops taking spans, metrics or both, and when it takes all again."""

    def __init__(self, destination: str) -> None:
        self._destination = destination
        self._failing: set[str] = set()
        self._lock = Lock()  # spans and metrics have a thread each

    def tell(self, what: Literal["spans", "metrics"], *, succeeded: bool) -> None:
        """Take the outcome of an export."""
        with self._lock:
            before = bool(self._failing)
            (self._failing.discard if succeeded else self._failing.add)(what)
            after = bool(self._failing)
        if after and not before:
            logger.warning(
                "telemetry: %s does not take %s; they are dropped", self._destination, what
            )
        if before and not after:
            logger.info("telemetry: %s takes everything again", self._destination)


class _Spans(SpanExporter):
    def __init__(
        self,
        exporter: SpanExporter,
        resource: Resource,
        reach: _Reach,
        before: Callable[[], None],
    ) -> None:
        self._exporter = exporter
        self._resource = resource
        # Azure Monitor's takes spans of ours.
        self._send: Callable[[Sequence[Span]], SpanExportResult] = getattr(
            exporter, "send", self._send_readable
        )
        self._before = before
        self._reach = reach

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        """Called by the SDK."""
        try:
            self._before()
            result = self._send(spans)
        except Exception:
            result = SpanExportResult.FAILURE
        self._reach.tell("spans", succeeded=result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        """Called by the SDK."""
        self._exporter.shutdown()

    def _send_readable(self, spans: Sequence[Span]) -> SpanExportResult:
        return self._exporter.export([span.readable(self._resource) for span in spans])


class _Batches(BatchSpanProcessor):
    """The SDK's, for spans of ours, which are put into its queue without another call.

    What is made of them is made where they are exported: a turn's thread has its own work in the
    processor's caches, and would do the same in twice the time.
    """

    @property
    def take(self) -> Callable[[Span], None]:
        """Keeps a span that has ended until it is exported."""
        put: Callable[[Any], None] = self._batch_processor._queue.appendleft
        return put

    def export_much(self) -> None:
        """Have a batch exported, by the SDK's thread, if there is a whole one."""
        batches = self._batch_processor
        if len(batches._queue) >= batches._max_export_batch_size:
            batches._worker_awaken.set()


class _Metrics(MetricExporter):
    def __init__(self, exporter: MetricExporter, reach: _Reach, spreads: Spreads | None) -> None:
        super().__init__(exporter._preferred_temporality, exporter._preferred_aggregation)
        self._exporter = exporter
        self._reach = reach
        self._spreads = spreads

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Called by the SDK."""
        try:
            if self._spreads is not None:
                metrics_data = self._spreads.sent_with(metrics_data)
            result = self._exporter.export(metrics_data, timeout_millis, **kwargs)
        except Exception:
            result = MetricExportResult.FAILURE
        self._reach.tell("metrics", succeeded=result is MetricExportResult.SUCCESS)
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Called by the SDK."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Called by the SDK."""
        self._exporter.shutdown(timeout_millis, **kwargs)


class _Sending:
    """See Sending."""

    def __init__(
        self,
        batches: Sequence[_Batches],
        metrics: Sequence[MetricExporter],
        resource: Resource,
        spreads: Spreads | None,
        measured: Callable[[], None],
    ) -> None:
        self._batches = batches
        self._processors: Sequence[SpanProcessor] = batches
        takers = [each.take for each in batches]
        self.take = takers[0] if len(takers) == 1 else _to_all(takers)
        sums = Sums(measured)
        self._meters = MeterProvider(
            [PeriodicExportingMetricReader(each) for each in metrics],
            resource,
            shutdown_on_exit=False,
            # None: as OTEL_METRICS_EXEMPLAR_FILTER says. Application Insights takes none.
            exemplar_filter=None if spreads is None else AlwaysOffExemplarFilter(),
        )
        meter = self._meters.get_meter(SCOPE)
        meter.create_observable_counter("code_interpreter.sums", [sums.pass_on])

        def measure(name: str, metric: Metric) -> Measure:
            if metric.kind == "counter":
                counter = meter.create_counter(name, metric.unit, metric.description)
                return partial(sums.add, counter)
            if spreads is not None:
                return partial(spreads.add, name)
            bounds = _OF_CALLS if metric.unit == "s" else _OF_COUNTS
            if name == AGENT_DURATION:
                bounds = _OF_TURNS
            histogram = meter.create_histogram(
                name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=bounds
            )
            return lambda value, of: histogram.record(value, dict(of))

        self.measures: Mapping[str, Measure] = {
            name: measure(name, metric) for name, metric in METRICS.items()
        }

    def export_much(self) -> None:
        """See Sending."""
        for each in self._batches:
            each.export_much()

    def flush(self) -> None:
        """Send what there is."""
        for each in self._processors:
            each.force_flush()
        self._meters.force_flush()

    def close(self) -> None:
        """Send what is left, the last time."""
        for each in self._processors:
            each.shutdown()
        self._meters.shutdown()


def _to_all(takers: Sequence[Callable[[Span], None]]) -> Callable[[Span], None]:
    def take(span: Span) -> None:
        for each in takers:
            each(span)

    return take


@contextmanager
def _or_one_line(destination: str, setting: str) -> Iterator[str]:
    """What fails in the block is a line in the log, which names the app setting to look at."""
    try:
        yield destination
    except Exception as error:
        # Its text may hold the value.
        kind = type(error).__name__
        logger.warning("telemetry: nothing is sent to %s: %s; see %s", destination, kind, setting)


def open_sending(
    destinations: Destinations, resource: Resource, measured: Callable[[], None] = lambda: None
) -> _Sending:
    """The exporters of all destinations; nothing is sent yet.

    Args:
        destinations: at least one.
        resource: says what all spans and metrics have.
        measured: called before metrics are sent: what waits is to be measured then.
    """
    opened: list[tuple[SpanExporter, MetricExporter, str]] = []
    # All that requests asks it for is its version; the rest takes 2.4 MB.
    with lazy_reexports("charset_normalizer"):
        if destinations.connection_string:
            with _or_one_line("Azure Monitor", "APPLICATIONINSIGHTS_CONNECTION_STRING") as name:
                of_azure: Callable[[Destinations, Resource], tuple[SpanExporter, MetricExporter]]
                of_azure = import_module(_AZURE_MONITOR).open_exporters
                opened.append((*of_azure(destinations, resource), name))
        if destinations.otlp_endpoint:
            with _or_one_line("the OTLP endpoint", "OTEL_EXPORTER_OTLP_*") as name:
                opened.append((*import_module(_OTLP).open_exporters(), name))
    reached = [(spans, metrics, _Reach(name)) for spans, metrics, name in opened]
    # A collector gets what the SDK makes of histograms by the OTEL_* variables.
    spreads = None if destinations.otlp_endpoint else Spreads()
    return _Sending(
        [_Batches(_Spans(spans, resource, reach, measured)) for spans, _, reach in reached],
        [_Metrics(metrics, reach, spreads) for _, metrics, reach in reached],
        resource,
        spreads,
        measured,
    )
