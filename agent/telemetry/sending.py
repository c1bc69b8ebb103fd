"""The exporters and the SDK's parts around them; importing this takes as long as they take."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, Final

from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from agent.lazy_reexports import lazy_reexports
from agent.telemetry.exporting import Destinations, Measure
from agent.telemetry.logs import logger
from agent.telemetry.metrics import METRICS, Metric
from agent.telemetry.totals import SCOPE, Spreads, Sums

# Of durations, as the conventions advise; a turn takes up to 225 s.
_SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96)
_BOUNDS: Final = (*_SECONDS, 81.92, 163.84)
_AZURE_MONITOR: Final = "agent.telemetry.azure_monitor"
_OTLP: Final = "agent.telemetry.otlp"


class _Reach:
    """Logs when a destination stops answering and when it answers again."""

    def __init__(self, destination: str) -> None:
        self._destination = destination
        self._fails = False

    def tell(self, *, succeeded: bool) -> None:
        """Take the outcome of an export."""
        if succeeded and self._fails:
            logger.info("telemetry: %s takes it again", self._destination)
        if not succeeded and not self._fails:
            logger.warning("telemetry: %s does not take it; it is dropped", self._destination)
        self._fails = not succeeded


class _Spans(SpanExporter):
    def __init__(self, exporter: SpanExporter, reach: _Reach) -> None:
        self._exporter = exporter
        self._reach = reach

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Called by the SDK."""
        try:
            result = self._exporter.export(spans)
        except Exception:
            result = SpanExportResult.FAILURE
        self._reach.tell(succeeded=result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        """Called by the SDK."""
        self._exporter.shutdown()


class _Batches(BatchSpanProcessor):
    def __init__(self, exporter: SpanExporter, reach: _Reach) -> None:
        super().__init__(_Spans(exporter, reach))
        self._reach = reach
        # What Azure Monitor's makes of a span that has ended.
        self._prepared = getattr(exporter, "prepared", None)

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span that has ended; no turn fails for it."""
        try:
            super().on_end(self._prepared(span) if self._prepared else span)
        except Exception:
            self._reach.tell(succeeded=False)


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
        self._reach.tell(succeeded=result is MetricExportResult.SUCCESS)
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
        processors: Sequence[SpanProcessor],
        metrics: Sequence[MetricExporter],
        resource: Resource,
        spreads: Spreads | None,
    ) -> None:
        self.processors = processors
        sums = Sums()
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
            bounds = _BOUNDS if metric.unit == "s" else None
            return meter.create_histogram(
                name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=bounds
            ).record

        self.measures: Mapping[str, Measure] = {
            name: measure(name, metric) for name, metric in METRICS.items()
        }

    def flush(self) -> None:
        """Send what there is."""
        for processor in self.processors:
            processor.force_flush()
        self._meters.force_flush()

    def close(self) -> None:
        """Send what is left, the last time."""
        for processor in self.processors:
            processor.shutdown()
        self._meters.shutdown()


def open_sending(destinations: Destinations, resource: Resource) -> _Sending:
    """The exporters of all destinations; nothing is sent yet."""
    opened: list[tuple[SpanExporter, MetricExporter, str]] = []
    # All that requests asks it for is its version; the rest takes 2.4 MB.
    with lazy_reexports("charset_normalizer"):
        if destinations.connection_string:
            of_azure: Callable[[Destinations], tuple[SpanExporter, MetricExporter]]
            of_azure = import_module(_AZURE_MONITOR).open_exporters
            opened.append((*of_azure(destinations), "Azure Monitor"))
        if destinations.otlp_endpoint:
            opened.append((*import_module(_OTLP).open_exporters(), "the OTLP endpoint"))
    reached = [(spans, metrics, _Reach(name)) for spans, metrics, name in opened]
    # A collector gets what the SDK makes of histograms by the OTEL_* variables.
    spreads = None if destinations.otlp_endpoint else Spreads()
    return _Sending(
        [_Batches(spans, reach) for spans, _, reach in reached],
        [_Metrics(metrics, reach, spreads) for _, metrics, reach in reached],
        resource,
        spreads,
    )
