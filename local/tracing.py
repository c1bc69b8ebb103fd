"""Where did the time go: each turn of the app as a tree of spans, without any account."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from local import defaults
from local.azure_monitor import AzureMonitor, Trees
from local.managed_identity import ManagedIdentity
from local.serving import serve

# What the app sent, one item a line.
FILE: Final = Path(__file__).parents[1] / ".local" / "telemetry.jsonl"


@asynccontextmanager
async def tracing(
    identity: ManagedIdentity, show: Callable[[str], None], file: Path | None = FILE
) -> AsyncIterator[dict[str, str]]:
    """An ingestion endpoint while the block runs; the app settings that make an app use it.

    Args:
        identity: whose tokens admit the app.
        show: gets the tree of each turn.
        file: gets every item.
    """
    verifier = identity.verifier(defaults.AZURE_MONITOR_AUDIENCE)
    trees = Trees(show, file)
    monitor = AzureMonitor(verifier, trees.take)
    try:
        async with serve(monitor.app) as url:
            yield {
                "APPLICATIONINSIGHTS_CONNECTION_STRING": monitor.connection_string(url),
                # As in infra/: turns belong to the trace of their invocation, by whose id a problem
                # names them; the exporter talks to nobody else.
                "PYTHON_ENABLE_OPENTELEMETRY": "true",
                "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
                "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
                # A developer waits for the tree.
                "OTEL_BSP_SCHEDULE_DELAY": "500",
            }
    finally:
        trees.close()
