"""Spans of ours beside the SDK's own: the same for readers, and by the operator's variables."""

import json
import time
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from agent.telemetry.calls import ToolSpan
from agent.telemetry.recording import Heading, annotate, outgoing_headers
from agent.telemetry.tracing import Span, Spans
from agent.telemetry.turns import TurnTelemetry, request_context
from tests.support.telemetry import Recorded, recorded

TRACE_ID, SPAN_ID = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331


def request(*, sampled: bool) -> Context:
    """The context of a request, as the host attaches it."""
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    state = TraceState([("vendor", "1")])
    above = SpanContext(TRACE_ID, SPAN_ID, is_remote=True, trace_flags=flags, trace_state=state)
    return set_span_in_context(NonRecordingSpan(above))


def a_turn(traceparent: str = "", tracestate: str = "") -> dict[str, str]:
    """A turn that calls a tool; the headers that a service would get from the tool."""
    headers = {"traceparent": traceparent, "tracestate": tracestate}
    with request_context({k: v for k, v in headers.items() if v}, ""):
        turn = TurnTelemetry()
        turn.begin()
        with turn.current(), ToolSpan("execute_python", "call-1"):
            sent = outgoing_headers()
        turn.end()
    return sent


def by_name(taken: Recorded) -> dict[str, ReadableSpan]:
    return {span.name: span for span in taken.spans}


def as_read(span: ReadableSpan) -> dict[str, Any]:
    """All that the SDK tells of it, but for what is another each time."""
    told: dict[str, Any] = json.loads(span.to_json())
    assert told.pop("start_time") <= told.pop("end_time")
    assert told["context"].pop("span_id")
    return {**told, "scope": span.instrumentation_scope, "dropped": span.dropped_attributes}


@pytest.mark.parametrize("failed", [False, True])
def test_a_span_reads_as_the_sdks_own(*, failed: bool) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    said, parent = {"gen_ai.operation.name": "chat"}, request(sampled=True)
    ended: list[Span] = []
    ours = Spans(provider, ended.append)
    span = ours.begin(Heading("chat gpt", SpanKind.CLIENT, said), parent, time.monotonic_ns())
    assert span is not None
    assert span.said is not None
    span.said["gen_ai.usage.input_tokens"] = 3
    span.end(time.monotonic_ns(), failed=failed)
    own = provider.get_tracer("agent").start_span("chat gpt", parent, SpanKind.CLIENT, said)
    own.set_attribute("gen_ai.usage.input_tokens", 3)
    if failed:
        own.set_status(Status(StatusCode.ERROR))
    own.end()
    (second,) = exporter.get_finished_spans()
    (first,) = ended
    assert as_read(first.readable(provider.resource)) == as_read(second)


def test_a_span_below_is_of_its_parents_trace() -> None:
    with recorded() as taken:
        sent = a_turn(f"00-{TRACE_ID:032x}-{SPAN_ID:016x}-01", "vendor=1")
    turn, tool = by_name(taken)["invoke_agent code-interpreter"], taken.spans[0]
    assert turn.parent
    assert turn.context
    assert tool.context
    assert (turn.parent.span_id, turn.context.trace_id) == (SPAN_ID, TRACE_ID)
    assert tool.parent == turn.context
    assert tool.context.trace_state == TraceState([("vendor", "1")])
    assert sent == {
        "traceparent": f"00-{TRACE_ID:032x}-{tool.context.span_id:016x}-01",
        "tracestate": "vendor=1",
    }


@pytest.mark.parametrize(
    ("sampler", "argument", "flag", "count"),
    [
        ("parentbased_always_on", "", "01", 2),
        ("parentbased_always_on", "", "00", 0),
        ("always_on", "", "00", 2),
        ("always_off", "", "01", 0),
        # This trace's last bytes are above the half of all.
        ("traceidratio", "0.5", "01", 0),
        ("traceidratio", "0.6", "00", 2),
        ("parentbased_traceidratio", "0", "01", 2),
        ("parentbased_traceidratio", "", "01", 2),
        ("parentbased_traceidratio", "", "00", 0),
        ("parentbased_traceidratio", "1", "00", 0),
        ("parentbased_traceidratio", "0", "", 0),
        ("parentbased_traceidratio", "1", "", 2),
        ("parentbased_always_on", "", "", 2),
        ("always_off", "", "", 0),
    ],
)
def test_the_sampler_of_the_operator_decides_for_a_turn_and_its_calls(
    monkeypatch: pytest.MonkeyPatch, sampler: str, argument: str, flag: str, count: int
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    with recorded() as taken:
        sent = a_turn(f"00-{TRACE_ID:032x}-{SPAN_ID:016x}-{flag}" if flag else "")
    assert len(taken.spans) == count
    # Services are told what was decided, in the same trace; the id of one of ours is random.
    version, trace_id, _, flags = sent["traceparent"].split("-")
    assert version == "00"
    assert int(trace_id, 16) == TRACE_ID if flag else int(trace_id, 16) not in (0, TRACE_ID)
    assert int(flags, 16) == (1 if count else 0) | (0 if flag else 2)
    assert [value for name, value, _ in taken.measurements if name.endswith("turns")] == [1]


def test_the_limits_of_the_operator_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "2")
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3")
    with recorded() as taken:
        a_turn()
    for span in taken.spans:
        assert span.attributes
        assert len(span.attributes) == 2
        assert span.dropped_attributes > 0
        assert all(len(str(value)) <= 3 for value in span.attributes.values())


def test_without_the_sdk_there_are_no_spans_and_no_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with recorded() as taken:
        sent = a_turn(f"00-{TRACE_ID:032x}-{SPAN_ID:016x}-01")
    assert taken.spans == ()
    assert sent == {}


def test_what_is_said_after_the_end_is_on_no_span() -> None:
    with recorded() as taken:
        turn = TurnTelemetry()
        turn.begin()
        with turn.current():
            turn.end()
            annotate(lambda: {"late": True})
    (span,) = taken.spans
    assert span.attributes
    assert "late" not in span.attributes
