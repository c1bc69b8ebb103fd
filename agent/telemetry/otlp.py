"""Exporters for a collector that takes OTLP over HTTP; they read the standard variables.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter


def open_exporters() -> tuple[OTLPSpanExporter, OTLPMetricExporter]:
    """For spans and for metrics."""
    return OTLPSpanExporter(), OTLPMetricExporter()
