"""Where telemetry goes: real exporters against an ingestion endpoint and a collector."""

import asyncio
import gzip
import logging
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agent.telemetry import metrics
from agent.telemetry.calls import count_upload
from agent.telemetry.exporting import (
    WAITING_MEASUREMENTS_MAX,
    WAITING_SPANS_MAX,
    Destinations,
    Exporting,
)
from agent.telemetry.sending import open_sending
from agent.telemetry.turns import TurnTelemetry
from agent.turns.turn import TurnRequest, stateless_turn
from local import defaults
from local.azure_monitor import AzureMonitor
from local.azure_openai import Say
from local.serving import free_port, serve
from tests.conftest import OpenRuntime, SharedAzure
from tests.support import PROJECT
from tests.support.azures_worker import TRACE_ID
from tests.support.functions_host import HostProcess
from tests.support.processes import read_process
from tests.support.telemetry import QUIET_EXPORTERS
from tests.support.turns import collect

pytestmark = pytest.mark.asyncio(loop_scope="session")

TURN = "invoke_agent code-interpreter"


@dataclass
class Collector:
    """Takes OTLP over HTTP; reads it by the protocol's own messages."""

    spans: list[str] = field(default_factory=list)
    metrics: dict[str, str | None] = field(default_factory=dict)  # name → kind
    services: set[str] = field(default_factory=set)

    async def take_spans(self, request: Request) -> Response:
        message = ExportTraceServiceRequest.FromString(await _plain(request))
        for resource in message.resource_spans:
            self.services |= {
                a.value.string_value
                for a in resource.resource.attributes
                if a.key == "service.name"
            }
            self.spans += [span.name for scope in resource.scope_spans for span in scope.spans]
        return Response(status_code=200)

    async def take_metrics(self, request: Request) -> Response:
        message = ExportMetricsServiceRequest.FromString(await _plain(request))
        self.metrics |= {
            metric.name: metric.WhichOneof("data")
            for resource in message.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }
        return Response(status_code=200)

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/traces", self.take_spans, methods=["POST"]),
                Route("/v1/metrics", self.take_metrics, methods=["POST"]),
            ]
        )


async def _plain(request: Request) -> bytes:
    body = await request.body()
    return gzip.decompress(body) if request.headers.get("content-encoding") == "gzip" else body


@pytest.fixture(autouse=True)
def quick_exporters(monkeypatch: pytest.MonkeyPatch) -> None:
    """As infra/ has it, but for the delay between batches."""
    for name, value in QUIET_EXPORTERS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")


@pytest_asyncio.fixture(loop_scope="session")
async def monitor(azure: SharedAzure) -> AsyncIterator[tuple[AzureMonitor, str]]:
    ingestion = AzureMonitor(azure.stack.identity.verifier(defaults.AZURE_MONITOR_AUDIENCE))
    async with serve(ingestion.app) as url:
        yield ingestion, ingestion.connection_string(url)


type Start = Callable[..., Exporting]


@pytest.fixture
def start(identity_endpoint: None) -> Iterator[Start]:
    """Starts exporting, at once; stopped with the test."""
    started: list[Exporting] = []

    def start_it(**destinations: str) -> Exporting:
        started.append(Exporting(Destinations(**destinations), open_after_s=0))
        return started[-1]

    yield start_it
    for exporting in started:
        exporting.stop()


async def printed_by(code: str) -> list[str]:
    """The lines that code prints in a process of its own, where a warning is an error."""
    finished = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-W", "error", "-c", code],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    return finished.stdout.splitlines()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


def turn() -> None:
    telemetry = TurnTelemetry()
    telemetry.begin()
    telemetry.failed("ModelThrottled", "")
    telemetry.end()


async def test_azure_monitor_gets_spans_and_metrics_by_the_identity(
    azure: SharedAzure,
    open_runtime: OpenRuntime,
    monitor: tuple[AzureMonitor, str],
) -> None:
    ingestion, connection_string = monitor
    settings = {"applicationinsights_connection_string": connection_string}
    with azure.model.script(Say("Hello.")):
        async with open_runtime(**settings, website_site_name="func-1") as runtime:
            await collect(stateless_turn(runtime.turns, TurnRequest("Hi")))
    by_name = {item.name: item for item in ingestion.items}
    chat = by_name[f"chat {azure.stack.openai.deployment}"]
    assert by_name[TURN].kind == chat.kind == "RemoteDependencyData"
    assert chat.operation_id == by_name[TURN].operation_id
    assert chat.parent_id == by_name[TURN].id
    assert chat.properties["gen_ai.request.model"] == azure.stack.openai.deployment
    assert by_name[TURN].raw["tags"]["ai.cloud.role"] == "func-1"
    assert by_name[metrics.TURNS].kind == "MetricData"


async def test_a_collector_gets_spans_and_metrics(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = Collector()
    async with serve(collector.app) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "named-by-the-operator")
        exporting = start(otlp_endpoint=url)
        turn()
        await until(lambda: collector.spans == [TURN])
        await asyncio.to_thread(exporting.stop)
    assert metrics.TURNS in collector.metrics
    assert set(collector.metrics) <= set(metrics.METRICS)
    assert collector.services == {"named-by-the-operator"}


def sums(ingestion: AzureMonitor) -> list[float]:
    """What was sent of the number of turns."""
    points = [
        i.raw["data"]["baseData"]["metrics"] for i in ingestion.items if i.name == metrics.TURNS
    ]
    return [point["value"] for (point,) in points]


async def test_a_counter_sends_what_was_added_since_and_nothing_while_there_is_none(
    start: Start, monitor: tuple[AzureMonitor, str]
) -> None:
    ingestion, connection_string = monitor
    exporting = start(connection_string=connection_string)
    for _ in range(3):
        turn()
    await asyncio.to_thread(exporting._open)
    await asyncio.to_thread(exporting.flush)
    turn()
    await asyncio.to_thread(exporting.flush)
    await asyncio.to_thread(exporting.flush)
    assert sums(ingestion) == [3, 1]


async def test_an_item_of_a_histogram_says_what_the_sdks_would_since_the_last(
    identity_endpoint: None,
    monitor: tuple[AzureMonitor, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ingestion, connection_string = monitor
    python, shell = {"gen_ai.tool.name": "python"}, {"gen_ai.tool.name": "shell"}
    values = [(0.5, python), (7.25, python), (0, shell), (0.125, python)]

    async def sent(otlp_endpoint: str) -> list[object]:
        destinations = Destinations(connection_string, otlp_endpoint=otlp_endpoint)
        sending = await asyncio.to_thread(open_sending, destinations, Resource({}))
        before = len(ingestion.items)
        for some in (values, [(1.5, shell)], []):
            for value, facts in some:
                sending.measures[metrics.TOOL_DURATION](value, tuple(facts.items()))
            sending.measures[metrics.TURNS](1, ())
            await asyncio.to_thread(sending.flush)
        await asyncio.to_thread(sending.close)
        return [
            (item.raw["data"]["baseData"], item.raw["tags"])
            for item in ingestion.items[before:]
            if item.name == metrics.TOOL_DURATION
        ]

    async with serve(Collector().app) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        ours, sdks = await sent(""), await sent(url)
    assert len(ours) == 3
    assert ours == sdks


@pytest.mark.parametrize(
    ("aggregation", "kind"),
    [
        ("explicit_bucket_histogram", "histogram"),
        ("base2_exponential_bucket_histogram", "exponential_histogram"),
    ],
)
async def test_a_collector_gets_histograms_as_its_variables_say(
    start: Start, monkeypatch: pytest.MonkeyPatch, aggregation: str, kind: str
) -> None:
    collector = Collector()
    async with serve(collector.app) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", aggregation)
        exporting = start(otlp_endpoint=url)
        turn()
        await asyncio.to_thread(exporting.stop)
    assert collector.metrics[metrics.AGENT_DURATION] == kind


async def test_a_destination_that_cannot_be_opened_is_one_line_and_leaves_the_others(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    collector = Collector()
    async with serve(collector.app) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        exporting = start(connection_string="InstrumentationKey=a-secret", otlp_endpoint=url)
        turn()
        await until(lambda: collector.spans == [TURN])
        await asyncio.to_thread(exporting.stop)
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("telemetry")]
    assert lines == [
        "telemetry: nothing is sent to Azure Monitor: ValueError;"
        " see APPLICATIONINSIGHTS_CONNECTION_STRING"
    ]


async def test_exporters_that_cannot_be_opened_are_one_line_and_nothing_waits_for_them(
    start: Start,
    monitor: tuple[AzureMonitor, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", "no-filter")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    exporting = start(connection_string=monitor[1], otlp_endpoint="http://127.0.0.1:1")
    turn()
    await until(lambda: "telemetry" in caplog.text)
    turn()
    await asyncio.to_thread(exporting.stop)
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("telemetry")]
    assert lines == ["telemetry: nothing is sent: ValueError; see the OTEL_* variables"]
    assert not exporting._waiting


async def test_exporters_are_opened_also_where_callers_only_upload(
    start: Start, monitor: tuple[AzureMonitor, str]
) -> None:
    ingestion, connection_string = monitor
    exporting = start(connection_string=connection_string)
    count_upload(5)
    await until(lambda: exporting._sending)
    count_upload(6)
    await asyncio.to_thread(exporting.flush)
    (item,) = [item for item in ingestion.items if item.name == metrics.FILE_BYTES]
    assert item.raw["data"]["baseData"]["metrics"][0]["value"] == 11


async def test_the_audience_of_the_connection_string_is_found_in_any_case(
    azure: SharedAzure, identity_endpoint: None
) -> None:
    audience = "https://storage.azure.com"  # which the identity knows too
    ingestion = AzureMonitor(azure.stack.identity.verifier(audience))
    async with serve(ingestion.app) as url:
        connection_string = f"{ingestion.connection_string(url)}; aadaudience = {audience}"
        exporting = Exporting(Destinations(connection_string=connection_string), open_after_s=60)
        turn()
        await asyncio.to_thread(exporting.stop)
    assert TURN in [item.name for item in ingestion.items]


async def test_what_is_buffered_is_sent_at_the_stop(
    identity_endpoint: None, monitor: tuple[AzureMonitor, str]
) -> None:
    ingestion, connection_string = monitor
    exporting = Exporting(Destinations(connection_string=connection_string), open_after_s=60)
    turn()
    assert ingestion.items == []
    await asyncio.to_thread(exporting.stop)
    assert TURN in [item.name for item in ingestion.items]


async def test_the_samplers_variables_are_honoured(
    start: Start, monitor: tuple[AzureMonitor, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    ingestion, connection_string = monitor
    exporting = start(connection_string=connection_string)
    turn()
    await asyncio.to_thread(exporting.stop)
    assert TURN not in [item.name for item in ingestion.items]


@pytest.mark.parametrize("how", ["down", "refusing", "throttling", "throttling for an hour"])
async def test_an_exporter_that_does_not_get_through_is_one_line_in_the_log(
    start: Start,
    monitor: tuple[AzureMonitor, str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    ingestion, connection_string = monitor
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "100")
    if how == "down":
        connection_string = ingestion.connection_string(f"http://127.0.0.1:{free_port()}")
    elif how.startswith("throttling"):
        ingestion.throttle(100, retry_after_s=3600 if how.endswith("hour") else 0)
    else:
        ingestion.refuse_items(TURN)
    start(connection_string=connection_string)
    began = asyncio.get_running_loop().time()
    for _ in range(2000):
        turn()
    assert asyncio.get_running_loop().time() - began < 30
    await until(lambda: "telemetry:" in caplog.text)
    turn()
    await asyncio.sleep(0.2)
    lines = [r for r in caplog.records if "turn outcome" not in r.getMessage()]
    (line,) = [r.getMessage() for r in lines if r.levelno >= logging.WARNING]
    assert re.fullmatch(
        "telemetry: Azure Monitor does not take (spans|metrics); they are dropped", line
    )


async def test_a_collector_that_takes_spans_alone_is_one_line_in_the_log(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "100")
    collector = Collector()
    app = Starlette(routes=[Route("/v1/traces", collector.take_spans, methods=["POST"])])
    async with serve(app) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        exporting = start(otlp_endpoint=url)
        for _ in range(5):
            collector.spans.clear()
            turn()
            await until(lambda: collector.spans)
            await asyncio.sleep(0.1)
        await asyncio.to_thread(exporting.stop)
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("telemetry")]
    assert lines == ["telemetry: the OTLP endpoint does not take metrics; they are dropped"]


async def test_what_was_measured_is_sent_also_where_no_span_is(
    start: Start, monitor: tuple[AzureMonitor, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ingestion, connection_string = monitor
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    exporting = Exporting(Destinations(connection_string=connection_string), open_after_s=60)
    turn()
    await asyncio.to_thread(exporting.stop)
    assert metrics.TURNS in [item.name for item in ingestion.items]


async def test_a_span_that_cannot_be_written_costs_no_turn(
    start: Start, monitor: tuple[AzureMonitor, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ingestion, connection_string = monitor
    # Half a character in a tag: the head of all items cannot be written.
    monkeypatch.setenv("OTEL_SERVICE_NAME", "half-\udc80")
    exporting = start(connection_string=connection_string)
    turn()
    await asyncio.to_thread(exporting._open)
    turn()
    await asyncio.to_thread(exporting.stop)
    assert TURN not in [item.name for item in ingestion.items]


async def test_what_waits_is_bounded(identity_endpoint: None) -> None:
    exporting = Exporting(Destinations(otlp_endpoint="http://127.0.0.1:1"), open_after_s=60)
    for _ in range(WAITING_SPANS_MAX + 100):
        turn()
    assert len(exporting._waiting) == WAITING_SPANS_MAX
    exporting._waiting.clear()
    exporting.stop()


async def test_a_whole_batch_is_sent_before_the_delay_is_over(
    start: Start, monitor: tuple[AzureMonitor, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "3")
    ingestion, connection_string = monitor
    exporting = start(connection_string=connection_string)
    await asyncio.to_thread(exporting._open)
    turn()
    turn()
    await asyncio.sleep(0.2)
    assert ingestion.items == []
    turn()
    await until(lambda: [item.name for item in ingestion.items] == [TURN] * 3)


async def test_every_turn_is_counted_where_no_span_is_sent(
    start: Start, monitor: tuple[AzureMonitor, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    ingestion, connection_string = monitor
    exporting = start(connection_string=connection_string)
    await asyncio.to_thread(exporting._open)
    for _ in range(WAITING_MEASUREMENTS_MAX):  # each has several
        turn()
    await asyncio.to_thread(exporting.flush)
    assert sums(ingestion) == [WAITING_MEASUREMENTS_MAX]


async def test_two_destinations_get_the_same_spans(
    start: Start, monitor: tuple[AzureMonitor, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ingestion, connection_string = monitor
    collector = Collector()
    async with serve(collector.app) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        exporting = start(connection_string=connection_string, otlp_endpoint=url)
        turn()  # before there are exporters, and after that
        await asyncio.to_thread(exporting._open)
        turn()
        await asyncio.to_thread(exporting.stop)
    assert collector.spans == [TURN] * 2
    assert [item.name for item in ingestion.items if item.name == TURN] == [TURN] * 2


async def test_no_exporter_is_imported_before_the_first_turn_has_ended() -> None:
    code = """
import sys
from agent.telemetry.exporting import Destinations, Exporting
Exporting(Destinations(connection_string="InstrumentationKey=x", otlp_endpoint="http://x"))
late = ("azure.monitor", "opentelemetry.exporter", "opentelemetry.sdk.metrics", "requests")
print([name for name in sys.modules if name.startswith(late)])
"""
    assert await printed_by(code) == ["[]"]


async def test_processes_are_looked_at_for_a_detector_that_the_operator_names() -> None:
    code = """
import os, sys
from agent.telemetry.exporting import _resource
print("process.owner" in _resource("app").attributes, "psutil._common" in sys.modules)
os.environ["OTEL_EXPERIMENTAL_RESOURCE_DETECTORS"] = "process"
print("process.owner" in _resource("app").attributes)
"""
    assert await printed_by(code) == ["False False", "True"]


async def test_exporters_detect_no_character_sets_and_a_tool_with_requests_does() -> None:
    code = """
import sys
from opentelemetry.sdk.resources import Resource
from agent.telemetry.exporting import Destinations
from agent.telemetry.sending import open_sending
key = "InstrumentationKey=00000000-0000-0000-0000-000000000000;IngestionEndpoint=http://127.0.0.1:1"
open_sending(Destinations(connection_string=key, otlp_endpoint="http://127.0.0.1:1"), Resource({}))
print("requests" in sys.modules, "charset_normalizer.api" in sys.modules)
import requests
answer = requests.Response()
answer._content = "Всеки човек има право на образование.".encode("cp1251")
print(answer.text)
"""
    assert await printed_by(code) == ["True False", "Всеки човек има право на образование."]


async def test_azures_worker_sends_what_is_buffered_when_it_is_told_to_stop(
    azure: SharedAzure, monitor: tuple[AzureMonitor, str]
) -> None:
    ingestion, connection_string = monitor
    environment = {
        **azure.stack.app_settings,
        **QUIET_EXPORTERS,
        "APPLICATIONINSIGHTS_CONNECTION_STRING": connection_string,
        "OTEL_BSP_SCHEDULE_DELAY": "60000",
        "PYTHON_ENABLE_OPENTELEMETRY": "true",
    }
    command = [sys.executable, "-m", "tests.support.azures_worker"]
    with (
        read_process(command, environment, HostProcess) as worker,
        azure.model.script(Say("Hello.")),
    ):
        await until(lambda: "200\n" in worker.lines)
        assert ingestion.items == []
        worker.process.terminate()
        assert await asyncio.to_thread(worker.process.wait, 60) == -signal.SIGTERM
    (turn_span,) = [item for item in ingestion.items if item.name == TURN]
    assert turn_span.operation_id == TRACE_ID
