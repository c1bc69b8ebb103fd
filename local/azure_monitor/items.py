"""Telemetry items as they travel, and what is wrong with one.

https://learn.microsoft.com/azure/azure-monitor/app/data-model-complete
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field, ValidationError

type Kind = Literal[
    "AvailabilityData",
    "EventData",
    "ExceptionData",
    "MessageData",
    "MetricData",
    "PageViewData",
    "RemoteDependencyData",
    "RequestData",
]
_DURATION: Final = re.compile(r"(?:(\d{1,6})\.)?(\d{1,2}):(\d\d):(\d\d(?:\.\d+)?)", re.ASCII)
_UUID: Final = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"


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


def _duration(value: object) -> timedelta:
    """Of `d.hh:mm:ss.ffffff`."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("it is not a duration")
    days, hours, minutes, seconds = match.groups(default="0")
    return timedelta(int(days), float(seconds), minutes=int(minutes), hours=int(hours))


class _Metric(BaseModel):
    name: str = ""


class _BaseData(BaseModel):
    name: str | None = None
    id: str | None = None
    duration: Annotated[timedelta, BeforeValidator(_duration)] = timedelta()
    success: bool | None = None
    result_code: str | None = Field(default=None, alias="resultCode")
    properties: dict[str, str] | None = None
    metrics: list[_Metric] | None = None


class _Data(BaseModel):
    kind: Kind = Field(alias="baseType")
    base: _BaseData = Field(alias="baseData")


class _Envelope(BaseModel):
    name: str = Field(min_length=1)
    key: str = Field(alias="iKey", pattern=_UUID)
    time: AwareDatetime
    tags: dict[str, str] | None = None
    data: _Data


def read_item(raw: object, instrumentation_key: str) -> Item:
    """One item of a request.

    Raises:
        ItemRefusedError: it is not one, or for somebody else.
    """
    try:
        envelope = _Envelope.model_validate(raw)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(map(str, fault["loc"]))
        raise ItemRefusedError(400, f"Field '{field}' on type 'Envelope': {fault['msg']}") from None
    if envelope.key != instrumentation_key:
        raise ItemRefusedError(400, "The instrumentation key is not of this resource")
    assert isinstance(raw, dict)  # noqa: S101 - what the model has taken
    base, tags = envelope.data.base, envelope.tags or {}
    metric = base.metrics[0].name if base.metrics else ""
    return Item(
        kind=envelope.data.kind,
        name=base.name or metric,
        operation_id=tags.get("ai.operation.id", ""),
        id=base.id or "",
        parent_id=tags.get("ai.operation.parentId", ""),
        began=envelope.time,
        duration_ms=base.duration / timedelta(milliseconds=1),
        succeeded=base.success is not False,
        result_code=base.result_code or "",
        properties=base.properties or {},
        raw=raw,
    )
