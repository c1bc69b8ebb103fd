"""Telemetry items as they travel, and what is wrong with one.

https://learn.microsoft.com/azure/azure-monitor/app/data-model-complete
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

KINDS: Final = frozenset(
    {
        "AvailabilityData",
        "EventData",
        "ExceptionData",
        "MessageData",
        "MetricData",
        "PageViewData",
        "RemoteDependencyData",
        "RequestData",
    }
)
_DURATION: Final = re.compile(r"(?:(\d+)\.)?(\d+):(\d\d):(\d\d(?:\.\d+)?)")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class ItemRefusedError(Exception):
    """The service does not take the item.

    Attributes:
        status: as in the service's answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Item:
    """One item that the endpoint took.

    Attributes:
        kind: its base type, for example `RemoteDependencyData`.
        name: of the dependency, request or metric.
        operation_id: the trace that it belongs to.
        id: of the span; empty where it is none.
        parent_id: of the span above it.
        began: when.
        duration_ms: of a span.
        succeeded: of a span.
        result_code: of a call over HTTP, its status; of others usually 0.
        properties: custom dimensions.
        raw: all of it.
    """

    kind: str
    name: str
    operation_id: str
    id: str
    parent_id: str
    began: datetime
    duration_ms: float
    succeeded: bool
    result_code: str
    properties: dict[str, str]
    raw: dict[str, Any]


def read_item(raw: object, instrumentation_key: str) -> Item:
    """One item of a request.

    Raises:
        ItemRefusedError: it is not one, or for somebody else.
    """
    if not isinstance(raw, dict) or not raw.get("name"):
        raise ItemRefusedError(400, "101: Field 'name' on type 'Envelope' is required")
    if not _UUID.fullmatch(str(raw.get("iKey"))):
        raise ItemRefusedError(400, "Invalid instrumentation key")
    if raw["iKey"] != instrumentation_key:
        raise ItemRefusedError(400, "The instrumentation key is not of this resource")
    data = raw.get("data") or {}
    base, kind = data.get("baseData"), data.get("baseType")
    if kind not in KINDS or not isinstance(base, dict):
        raise ItemRefusedError(400, "Field 'baseType' on type 'Data' has no known value")
    try:
        began = datetime.fromisoformat(str(raw["time"]))
        duration_ms = _milliseconds(base["duration"]) if "duration" in base else 0
    except (KeyError, ValueError) as error:
        raise ItemRefusedError(400, f"Field 'time' or 'duration': {error}") from error
    tags = raw.get("tags") or {}
    metrics = base.get("metrics") or [{}]
    return Item(
        kind=kind,
        name=str(base.get("name") or metrics[0].get("name") or ""),
        operation_id=str(tags.get("ai.operation.id") or ""),
        id=str(base.get("id") or ""),
        parent_id=str(tags.get("ai.operation.parentId") or ""),
        began=began,
        duration_ms=duration_ms,
        succeeded=base.get("success") is not False,
        result_code=str(base.get("resultCode") or ""),
        properties=dict(base.get("properties") or {}),
        raw=raw,
    )


def _milliseconds(duration: object) -> float:
    """Of `d.hh:mm:ss.ffffff`."""
    match = _DURATION.fullmatch(str(duration))
    if match is None:
        raise ValueError(f"{duration!r} is not a duration")
    days, hours, minutes, seconds = match.groups(default="0")
    whole = (int(days) * 24 + int(hours)) * 60 + int(minutes)
    return (whole * 60 + float(seconds)) * 1e3
