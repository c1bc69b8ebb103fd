"""Exporters for Application Insights, which takes a token of the app's identity and no key.

https://learn.microsoft.com/azure/azure-monitor/app/azure-ad-authentication
"""

from typing import Any, Final

from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.identity import DefaultAzureCredential, get_bearer_token_provider
from azure.monitor.opentelemetry.exporter import (
    AzureMonitorMetricExporter,
    AzureMonitorTraceExporter,
)

from agent.telemetry.exporting import Destinations

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


def open_exporters(
    destinations: Destinations,
) -> tuple[AzureMonitorTraceExporter, AzureMonitorMetricExporter]:
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
    return AzureMonitorTraceExporter(**options), AzureMonitorMetricExporter(**options)
