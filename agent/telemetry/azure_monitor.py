"""Exporters for Application Insights, which takes a token of the app's identity and no key.

https://learn.microsoft.com/azure/azure-monitor/app/azure-ad-authentication
"""

from collections.abc import Sequence
from typing import Any, Final

from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import RetryPolicy, SansIOHTTPPolicy
from azure.identity import DefaultAzureCredential, get_bearer_token_provider
from azure.monitor.opentelemetry.exporter import (
    AzureMonitorMetricExporter,
    AzureMonitorTraceExporter,
)
from azure.monitor.opentelemetry.exporter.export._base import ExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExportResult

from agent.telemetry.azure_items import Items
from agent.telemetry.exporting import Destinations
from agent.telemetry.tracing import Span

AUDIENCE: Final = "https://monitor.azure.com/"
TIMEOUT_S: Final = 10
RETRY_WAIT_MAX_S: Final = 5


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


class _Retries(RetryPolicy[Any, Any]):
    """Does not wait longer than a batch may: what is not taken then is dropped, and said to be."""

    def is_retry(self, settings: dict[str, Any], response: PipelineResponse[Any, Any]) -> bool:
        """Called by the client."""
        wait_s = self.get_retry_after(response) or 0
        return wait_s <= RETRY_WAIT_MAX_S and super().is_retry(settings, response)


class SpanExporter(AzureMonitorTraceExporter):
    """The library's, which sends items of ours: see agent/telemetry/azure_items.py.

    Args:
        resource: says what all spans of the process have.
        options: of the library's.
    """

    def __init__(self, resource: Resource, **options: Any) -> None:
        super().__init__(**options)
        self._resource = resource
        self._items: Items | None = None
        client: Any = self.client
        track = client.track
        client.track = lambda items, **more: track(f"[{','.join(items)}]".encode(), **more)

    def send(self, spans: Sequence[Span]) -> SpanExportResult:
        """Send spans that have ended."""
        if self._items is None:
            # Role, instance, versions: of one process all spans have the same.
            tags = self._span_to_envelope(spans[0].readable(self._resource)).tags or {}
            of_process = {k: tags[k] for k in tags if not k.startswith("ai.operation.")}
            self._items = Items(str(self._instrumentation_key), of_process)
        items: list[Any] = [self._items.item_of(span) for span in spans]
        succeeded = self._transmit(items) is ExportResult.SUCCESS
        return SpanExportResult.SUCCESS if succeeded else SpanExportResult.FAILURE


def open_exporters(
    destinations: Destinations, resource: Resource
) -> tuple[SpanExporter, AzureMonitorMetricExporter]:
    """For spans and for metrics."""
    # Their names in any case, as the exporter has it.
    pairs = (part.partition("=")[::2] for part in destinations.connection_string.split(";"))
    parts = {name.strip().lower(): value.strip() for name, value in pairs}
    options: dict[str, Any] = {
        "connection_string": destinations.connection_string,
        "credential": None,
        "authentication_policy": _BearerToken(
            destinations.client_id, parts.get("aadaudience") or AUDIENCE
        ),
        # Nothing of a turn is left on a disk, and what waits is bounded.
        "disable_offline_storage": True,
        # The exporter would send measurements of its own to Microsoft, of which nobody was told.
        "instrumentation_collection": True,
        "timeout": TIMEOUT_S,
        "read_timeout": TIMEOUT_S,
        "retry_policy": _Retries(retry_total=2),
    }
    return SpanExporter(resource, **options), AzureMonitorMetricExporter(**options)
