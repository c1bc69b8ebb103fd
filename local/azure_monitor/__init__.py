"""Application Insights' ingestion endpoint: where does telemetry go without an Azure account?"""

from local.azure_monitor.ingestion import AzureMonitor
from local.azure_monitor.items import Item
from local.azure_monitor.trees import Trees

__all__ = ["AzureMonitor", "Item", "Trees"]
