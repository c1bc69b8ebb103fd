"""Items for Application Insights: what the library would send, at a fraction of the work."""

import cProfile
import json
import pstats
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest

from agent.errors import ModelThrottledError, PoolFullError
from agent.events import Usage
from agent.telemetry.azure_items import Items
from agent.telemetry.azure_monitor import SpanExporter, open_exporters
from agent.telemetry.calls import HttpSpan, ModelSpan, ToolSpan, annotate_execution
from agent.telemetry.exporting import Destinations
from agent.telemetry.tracing import Span
from agent.telemetry.turns import TurnTelemetry
from local.azure_monitor.ingestion import INSTRUMENTATION_KEY
from local.azure_monitor.items import read_item
from tests.support.telemetry import RESOURCE, recorded

MODEL, POOL = ("account.openai.azure.com", 443), ("westeurope.dynamicsessions.io", 443)


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> SpanExporter:
    monkeypatch.setenv("APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED", "true")
    key = f"InstrumentationKey={INSTRUMENTATION_KEY};IngestionEndpoint=http://127.0.0.1:1/"
    return open_exporters(Destinations(connection_string=key), RESOURCE)[0]


def item_of(span: Span, tags: Mapping[str, str] | None = None) -> Any:
    """As the service reads it."""
    return json.loads(Items(INSTRUMENTATION_KEY, tags or {}).item_of(span))


def spans() -> list[Span]:
    """One of each kind, some of which failed."""
    with recorded() as taken:
        turn = TurnTelemetry()
        turn.begin()
        with turn.current():
            with ModelSpan("gpt", MODEL, stream=False) as chat:
                chat.answered(finish_reason="stop", usage=Usage(3, 2), response_id="chatcmpl-1")
            with suppress(ModelThrottledError), ModelSpan("gpt", MODEL, stream=True):
                raise ModelThrottledError("")
            with ToolSpan("execute_python", "call-1"):
                with suppress(PoolFullError), HttpSpan("pool", "POST", "executions", POOL) as call:
                    call.answered(429)
                    raise PoolFullError("")
                with HttpSpan("pool", "POST", "executions", POOL, attempt=2) as call:
                    call.answered(200)
                annotate_execution("Succeeded", 7, {"x-ms-allocation-time": "12.5"})
        turn.failed("ModelThrottled", "")
        turn.end()
    return taken.ended


def test_an_item_says_what_the_librarys_own_says(exporter: SpanExporter) -> None:
    for span in spans():
        libs: dict[str, Any] = json.loads(
            json.dumps(exporter._span_to_envelope(span.readable(RESOURCE)).as_dict(), default=str)
        )
        tags = {k: v for k, v in libs["tags"].items() if not k.startswith("ai.operation.")}
        ours = item_of(span, tags)
        lib, base = libs["data"]["baseData"], ours["data"]["baseData"]
        assert (ours["name"], ours["iKey"]) == (libs["name"], libs["iKey"])
        # The library rounds in binary.
        late = datetime.fromisoformat(ours["time"]) - datetime.fromisoformat(libs["time"])
        assert abs(late) <= timedelta(microseconds=1)
        assert ours["data"]["baseType"] == libs["data"]["baseType"]
        assert base["duration"][:-6] == lib["duration"][:-3]  # ours has microseconds
        same = ("ver", "id", "resultCode", "success")
        assert [base[name] for name in same] == [lib[name] for name in same], base["name"]
        if "POST" in base["name"]:
            # The library's name is the path of url.full, and its target has the port of https.
            assert (base["type"], base["data"]) == ("HTTP", lib["data"])
            assert lib["target"] == f"{base['target']}:443"
        else:
            assert ours["tags"] == libs["tags"]
            assert base["name"] == lib["name"]
        # The library writes a list as Python would, and leaves out which error and attempt it was.
        said = dict(base["properties"])
        for more in ("error.type", "http.request.resend_count"):
            said.pop(more, None)
        reasons = said.pop("gen_ai.response.finish_reasons", None)
        assert (reasons is None) or lib["properties"].pop("gen_ai.response.finish_reasons")
        assert said == lib["properties"], base["name"]


def test_what_an_operator_asks_for_is_in_the_items() -> None:
    items = [read_item(item_of(span), INSTRUMENTATION_KEY) for span in spans()]
    by_error = {(item.name, item.properties.get("error.type")): item for item in items}
    failed = by_error[("invoke_agent code-interpreter", "ModelThrottled")]
    assert not failed.succeeded
    assert failed.properties["code_interpreter.outcome"] == "failed"
    refused = by_error[("POST executions", "PoolFull")]
    assert (refused.result_code, refused.succeeded) == ("429", False)
    again = by_error[("POST executions", None)]
    assert (again.result_code, again.properties["http.request.resend_count"]) == ("200", "1")
    chat = by_error[("chat gpt", None)].raw["data"]["baseData"]
    assert (chat["type"], chat["target"]) == ("GenAI | azure.ai.openai", MODEL[0])
    assert chat["properties"]["gen_ai.response.finish_reasons"] == "stop"
    assert {item.operation_id for item in items} == {failed.operation_id}


def test_the_target_of_an_item_has_a_port_that_is_not_that_of_https() -> None:
    with recorded() as taken, HttpSpan("pool", "POST", "executions", ("127.0.0.1", 8443)):
        pass
    (span,) = taken.ended
    base = item_of(span)["data"]["baseData"]
    assert base["target"] == "127.0.0.1:8443"
    assert base["data"] == "https://127.0.0.1:8443/executions"


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0.00:00:00.000000"),
        (1_999, "0.00:00:00.000001"),
        (61_000_500_000, "0.00:01:01.000500"),
        (90_061_000_000_000, "1.01:01:01.000000"),
    ],
)
def test_a_duration_is_in_the_services_own_form(ns: int, text: str) -> None:
    (span, *_) = spans()
    span.began_ns -= span.began_ns % 1000
    span.ended_ns = span.began_ns + ns
    assert item_of(span)["data"]["baseData"]["duration"] == text


def test_an_item_is_a_fiftieth_of_the_librarys_work(exporter: SpanExporter) -> None:
    made = spans()

    def calls(work: Callable[[Span], object]) -> float:
        with cProfile.Profile() as profile:
            for span in made:
                work(span)
        return float(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]  # not in typeshed

    def by_library(span: Span) -> str:
        return json.dumps(exporter._span_to_envelope(span.readable(RESOURCE)).as_dict())

    ours, library = calls(Items(INSTRUMENTATION_KEY, {}).item_of), calls(by_library)
    assert ours < library / 50


def test_half_a_character_is_written_too() -> None:
    with recorded() as taken, ToolSpan("execute_python", "call-\ud83d"):
        pass
    (span,) = taken.ended
    properties = item_of(span)["data"]["baseData"]["properties"]
    assert properties["gen_ai.tool.call.id"] == "call-\ud83d"
