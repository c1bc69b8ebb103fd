"""The ingestion endpoint answers as Application Insights does."""

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from local import defaults
from local.azure_monitor import AzureMonitor
from local.azure_monitor.ingestion import INSTRUMENTATION_KEY, MAX_BODY_BYTES
from local.managed_identity import ManagedIdentity

IDENTITY = ManagedIdentity()


def item(name: str = "GET /", **changes: Any) -> dict[str, Any]:
    return {
        "name": "Microsoft.ApplicationInsights.RemoteDependency",
        "time": "2026-11-26T12:00:00.000000Z",
        "iKey": INSTRUMENTATION_KEY,
        "tags": {"ai.operation.id": "a" * 32},
        "data": {
            "baseType": "RemoteDependencyData",
            "baseData": {"name": name, "id": "b" * 16, "duration": "0.00:00:01.500"},
        },
        **changes,
    }


@pytest.fixture
def monitor() -> AzureMonitor:
    return AzureMonitor(IDENTITY.verifier(defaults.AZURE_MONITOR_AUDIENCE))


@pytest_asyncio.fixture
async def client(monitor: AzureMonitor) -> AsyncIterator[httpx2.AsyncClient]:
    token = IDENTITY.mint(defaults.AZURE_MONITOR_AUDIENCE)
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=monitor.app),
        base_url="http://monitor",
        headers={"authorization": f"Bearer {token}"},
    ) as opened:
        yield opened


@pytest.mark.parametrize("version", ["v2", "v2.1"])
@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("lines", [True, False])
async def test_items_are_taken_in_every_form(
    client: httpx2.AsyncClient,
    monitor: AzureMonitor,
    version: str,
    *,
    compressed: bool,
    lines: bool,
) -> None:
    items = [item("one"), item("two")]
    body = ("\n".join(map(json.dumps, items)) if lines else json.dumps(items)).encode()
    headers = {"content-encoding": "gzip"} if compressed else {}
    reply = await client.post(
        f"/{version}/track", content=gzip.compress(body) if compressed else body, headers=headers
    )
    assert reply.status_code == 200
    assert reply.json() == {"itemsReceived": 2, "itemsAccepted": 2, "errors": []}
    assert [(i.name, i.duration_ms) for i in monitor.items] == [("one", 1500), ("two", 1500)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"iKey": "10ca1000-0000-4000-8000-000000000005"},
        {"iKey": "key"},
        {"time": "yesterday"},
        {"data": {"baseType": "Other", "baseData": {}}},
        {"data": {"baseType": "RemoteDependencyData", "baseData": {"duration": "1 s"}}},
        {"data": {"baseType": "RemoteDependencyData", "baseData": {"duration": f"{'9' * 4999}.0"}}},
        {"data": {"baseType": "RemoteDependencyData", "baseData": {"properties": {"a": 1}}}},
        {"data": {"baseType": "MetricData", "baseData": {"metrics": "a"}}},
        {"data": {"baseType": ["MetricData"], "baseData": {}}},
        {"data": ["MetricData"]},
        {"tags": ["a"]},
        {"time": "2026-11-26"},
    ],
)
async def test_an_item_that_is_wrong_is_refused_by_its_number(
    client: httpx2.AsyncClient, monitor: AzureMonitor, wrong: dict[str, Any]
) -> None:
    reply = await client.post("/v2.1/track", json=[item("right"), item("wrong") | wrong])
    assert reply.status_code == 206
    assert reply.json()["itemsAccepted"] == 1
    assert [(e["index"], e["statusCode"]) for e in reply.json()["errors"]] == [(1, 400)]
    assert [i.name for i in monitor.items] == ["right"]


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"", ""),
        (b"{", ""),
        (b"[1", ""),
        (b"[NaN]", ""),
        (b"\xff\xfe", ""),
        (b"[" * 200_000, ""),
        (b"\x1f\x8b", "gzip"),
        (gzip.compress(b"[]")[:-1], "gzip"),
        (b"[]", "br"),
    ],
)
async def test_a_body_without_items_is_refused(
    client: httpx2.AsyncClient, body: bytes, encoding: str
) -> None:
    reply = await client.post("/v2.1/track", content=body, headers={"content-encoding": encoding})
    assert reply.status_code == 400
    assert reply.json()["itemsAccepted"] == 0


@pytest.mark.parametrize("compressed", [True, False])
async def test_a_body_that_is_too_large_is_not_read_to_its_end(
    client: httpx2.AsyncClient, *, compressed: bool
) -> None:
    body = b" " * (MAX_BODY_BYTES + 1)
    content = gzip.compress(body, 1) if compressed else body
    headers = {"content-encoding": "GZip"} if compressed else {}
    reply = await client.post("/v2.1/track", content=content, headers=headers)
    assert reply.status_code == 413


@pytest.mark.parametrize("token", ["", "Bearer made-up", IDENTITY.mint("https://other.example")])
async def test_nobody_is_admitted_without_a_token_for_it(
    client: httpx2.AsyncClient, monitor: AzureMonitor, token: str
) -> None:
    reply = await client.post("/v2.1/track", json=[item()], headers={"authorization": token})
    assert reply.status_code == 401
    assert monitor.items == []


async def test_an_identity_without_the_role_is_refused(
    client: httpx2.AsyncClient, monitor: AzureMonitor
) -> None:
    monitor.revoke_role()
    assert (await client.post("/v2.1/track", json=[item()])).status_code == 403
    monitor.grant_role()
    assert (await client.post("/v2.1/track", json=[item()])).status_code == 200


async def test_it_throttles_on_demand(client: httpx2.AsyncClient, monitor: AzureMonitor) -> None:
    monitor.throttle(retry_after_s=7)
    refused = await client.post("/v2.1/track", json=[item()])
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
    assert (await client.post("/v2.1/track", json=[item()])).status_code == 200
