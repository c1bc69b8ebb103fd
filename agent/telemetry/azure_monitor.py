"""Exporters for Application Insights, which takes a token of the app's identity and no key.

https://learn.microsoft.com/azure/azure-monitor/app/azure-ad-authentication
"""

from collections.abc import Sequence
from typing import Any, Final

from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.identity import DefaultAzureCredential, get_bearer_token_provider
from azure.monitor.opentelemetry.exporter import (
    AzureMonitorMetricExporter,
    AzureMonitorTraceExporter,
)
from azure.monitor.opentelemetry.exporter.export._base import ExportResult
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanContext

from agent.telemetry.azure_items import Items
from agent.telemetry.exporting import Destinations
from agent.telemetry.tracing import Span

AUDIENCE: Final = "https://monitor.azure.com/"
TIMEOUT_S: Final = 10


class _BearerToken(SansIOHTTPPolicy[Any, Any]):
    """Authorises each request; agent/settings.py has checked where they go."""

    def __init__(self, client_id: str | None, audience: str) -> None:
        credential = (
            DefaultAzureCredential(managed_identity_client_id=client_id)
            if client_id
            else DefaultAzureCredential()
        )
        self._token = get_bearer_token_provider(credential, f"{audience}/.default")

    def on_request(self, request: PipelineRequest[Any]) -> None:
        """Called by the client."""
        request.http_request.headers["Authorization"] = f"Bearer {self._token()}"


class _WrittenSpan(ReadableSpan):
    """What waits of a span: its item, as it is sent."""

    def __init__(self, context: SpanContext, item: bytes) -> None:
        self._context = context
        self.item = item


class SpanExporter(AzureMonitorTraceExporter):
    """The library's, which sends items of ours: see agent/telemetry/azure_items.py."""

    _items: Items | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        client: Any = self.client
        track = client.track
        client.track = lambda items, **more: track(b"[%b]" % b",".join(items), **more)

    def prepared(self, span: Span) -> ReadableSpan:
        """A span as `export` takes it: what waits to be sent is a text, and no tree of objects."""
        if self._items is None:
            # Role, instance, versions: of one process all spans have the same.
            tags = self._span_to_envelope(span).tags or {}
            of_process = {k: tags[k] for k in tags if not k.startswith("ai.operation.")}
            self._items = Items(str(self._instrumentation_key), of_process)
        return _WrittenSpan(span.ids, self._items.item_of(span))

    def export(self, spans: Sequence[ReadableSpan], **_: Any) -> SpanExportResult:
        """Called by the SDK."""
        items: list[Any] = [span.item for span in spans if isinstance(span, _WrittenSpan)]
        succeeded = self._transmit(items) is ExportResult.SUCCESS
        return SpanExportResult.SUCCESS if succeeded else SpanExportResult.FAILURE


def open_exporters(
    destinations: Destinations,
) -> tuple[SpanExporter, AzureMonitorMetricExporter]:
    """For spans and for metrics."""
    parts = dict(part.partition("=")[::2] for part in destinations.connection_string.split(";"))
    options: dict[str, Any] = {
        "connection_string": destinations.connection_string,
        "credential": None,
        "authentication_policy": _BearerToken(
            destinations.client_id, parts.get("AADAudience") or AUDIENCE
        ),
        # Nothing of a turn is left on a disk, and what waits is bounded.
        "disable_offline_storage": True,
        # The exporter would send measurements of its own to Microsoft, of which nobody was told.
        "instrumentation_collection": True,
        "timeout": TIMEOUT_S,
        "read_timeout": TIMEOUT_S,
        "retry_total": 2,
    }
    return SpanExporter(**options), AzureMonitorMetricExporter(**options)
