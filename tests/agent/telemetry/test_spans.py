"""The spans of a turn: which there are, what each says, and on what they hang."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from opentelemetry.trace import SpanKind, StatusCode
from yarl import URL

from agent.conversations.owner import ANONYMOUS
from agent.conversations.turn import start_turn
from agent.errors import ConversationBusyError
from agent.events import ExecutionStarted
from agent.runtime import Runtime
from agent.telemetry import metrics
from agent.telemetry.turns import hashed, request_context
from agent.turns.turn import TurnRequest, stateless_turn
from local.azure_openai import CallTool, Say
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.raw_server import raw_server, response
from tests.support.telemetry import Recorded, attributes_of, recorded
from tests.support.turns import collect

pytestmark = pytest.mark.asyncio(loop_scope="session")

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


@pytest_asyncio.fixture(loop_scope="session")
async def runtime(open_runtime: OpenRuntime, tmp_path: Path) -> AsyncIterator[Runtime]:
    async with open_runtime(conversations_url=tmp_path.as_uri()) as opened:
        yield opened


class Seen(httpx2.AsyncBaseTransport):
    """Keeps the trace header of each request that it passes on."""

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self._transport = transport
        self.traceparents: list[str | None] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.traceparents.append(request.headers.get("traceparent"))
        return await self._transport.handle_async_request(request)


def model_traceparents(runtime: Runtime) -> list[str | None]:
    """The header of each request to the model, from now on."""
    client = runtime.turns.model.client
    client._transport = seen = Seen(client._transport)
    return seen.traceparents


async def ended(taken: Recorded, name: str) -> None:
    """Wait for a span of the background."""
    async with asyncio.timeout(60):
        while not taken.named(name):  # noqa: ASYNC110 - a span tells nobody of its end
            await asyncio.sleep(0.01)


async def test_a_turn_is_a_tree_of_its_calls(azure: SharedAzure, runtime: Runtime) -> None:
    with recorded() as taken, azure.model.script(CallTool(code="6 * 7"), Say("It is 42.")):
        await collect(stateless_turn(runtime.turns, TurnRequest("Hi", stream=True)))
        await ended(taken, "DELETE session")
    deployment = azure.stack.openai.deployment
    assert taken.tree() == [
        "invoke_agent code-interpreter",
        f"  chat {deployment}",
        "    get token",
        "  execute_tool execute_python",
        "    get token",
        "    POST executions",
        f"  chat {deployment}",
        "  DELETE session",
    ]


async def test_a_model_call_says_what_the_conventions_want(
    azure: SharedAzure, runtime: Runtime
) -> None:
    with recorded() as taken, azure.model.script(Say("Hello.")):
        turn = await collect(stateless_turn(runtime.turns, TurnRequest("Hi", stream=True)))
    deployment = azure.stack.openai.deployment
    (span,) = taken.named(f"chat {deployment}")
    said = attributes_of(span)
    assert span.kind is SpanKind.CLIENT
    assert said.pop("gen_ai.response.time_to_first_chunk") > 0
    assert said.pop("gen_ai.response.id").startswith("chatcmpl-")
    assert said == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "azure.ai.openai",
        "gen_ai.request.model": deployment,
        "gen_ai.request.stream": True,
        "gen_ai.response.model": said["gen_ai.response.model"],
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": turn.finished.usage.prompt_tokens,
        "gen_ai.usage.output_tokens": turn.finished.usage.completion_tokens,
        "server.address": "127.0.0.1",
        "server.port": URL(runtime.turns.model.service_url()).port,
    }


async def test_a_tool_call_says_how_it_went_and_what_the_pool_measured(
    azure: SharedAzure, runtime: Runtime
) -> None:
    with recorded() as taken, azure.model.script(CallTool(code="1/0"), Say("No.")):
        await collect(stateless_turn(runtime.turns, TurnRequest("Hi")))
    (span,) = taken.named("execute_tool execute_python")
    said = attributes_of(span)
    assert said["gen_ai.operation.name"] == "execute_tool"
    assert said["gen_ai.tool.name"] == "execute_python"
    assert said["gen_ai.tool.type"] == "function"
    assert said["gen_ai.tool.call.id"]
    assert said["code_interpreter.execution.status"] == "Failed"
    assert said["code_interpreter.pool.allocation_retries"] == 0
    assert {name for name in said if name.startswith("code_interpreter.pool.")} == {
        f"code_interpreter.pool.{timing}"
        for timing in (
            "allocation_ms",
            "allocation_retries",
            "container_execution_ms",
            "preparation_ms",
            "execution_request_ms",
            "read_response_ms",
            "overall_execution_ms",
            "total_ms",
        )
    }


async def test_a_pool_that_fails_is_named_on_all_spans_above_its_call(
    faults: SharedAzure, runtime: Runtime
) -> None:
    faults.stack.pool.faults.revoke_role()
    with recorded() as taken, faults.model.using(lambda _: CallTool(code="1")):
        turn = await collect(stateless_turn(runtime.turns, TurnRequest("Hi")))
    assert turn.error_code == "PoolAccessDenied"
    for name in (
        "invoke_agent code-interpreter",
        "execute_tool execute_python",
        "POST executions",
    ):
        span = taken.named(name)[0]
        assert attributes_of(span)["error.type"] == "PoolAccessDenied", name
        assert span.status.status_code is StatusCode.ERROR, name
    assert attributes_of(taken.named("POST executions")[0])["http.response.status_code"] == 403


async def test_an_incoming_trace_goes_through_the_turn_to_model_and_pool(
    azure: SharedAzure, runtime: Runtime
) -> None:
    sent = model_traceparents(runtime)
    with recorded() as taken, azure.model.script(CallTool(code="1"), Say("1")):
        with request_context({"traceparent": TRACEPARENT}, TRACE_ID):
            events = stateless_turn(runtime.turns, TurnRequest("Hi", stream=True))
        # As a stream does: its events are asked for when the handler has returned.
        await asyncio.create_task(collect(events))
    assert {f"{span.context.trace_id:032x}" for span in taken.spans if span.context} == {TRACE_ID}
    (agent,) = taken.named("invoke_agent code-interpreter")
    assert agent.parent
    assert agent.parent.span_id == 0xB7AD6B7169203331
    chat = taken.named(f"chat {azure.stack.openai.deployment}")[0]
    assert chat.context
    assert sent[0] == f"00-{TRACE_ID}-{chat.context.span_id:016x}-01"


async def test_without_recording_nothing_is_sent_on(azure: SharedAzure, runtime: Runtime) -> None:
    sent = model_traceparents(runtime)
    request = request_context({"traceparent": TRACEPARENT}, TRACE_ID)
    with azure.model.script(Say("Hello.")), request:
        await collect(stateless_turn(runtime.turns, TurnRequest("Hi")))
    assert set(sent) == {None}


async def test_a_conversation_is_named_by_a_hash(azure: SharedAzure, runtime: Runtime) -> None:
    services = await runtime.conversations()
    with recorded() as taken, azure.model.script(Say("One.")):
        turn = await start_turn(services, ANONYMOUS, None, TurnRequest("Hi"))
        await collect(aiter(turn))
    (span,) = taken.named("invoke_agent code-interpreter")
    assert attributes_of(span)["gen_ai.conversation.id"] == hashed(turn.conversation_id)
    (chat,) = taken.named(f"chat {azure.stack.openai.deployment}")
    assert attributes_of(chat)["gen_ai.conversation.id"] == hashed(turn.conversation_id)
    assert attributes_of(span)["code_interpreter.store_ms"] > 0
    assert len(hashed(turn.conversation_id)) == 16
    assert hashed(turn.conversation_id) not in turn.conversation_id


async def test_a_turn_that_finds_its_conversation_busy_has_a_span_and_is_counted(
    azure: SharedAzure, runtime: Runtime
) -> None:
    services = await runtime.conversations()
    first = await start_turn(services, ANONYMOUS, None, TurnRequest("Hi"))
    with recorded() as taken, pytest.raises(ConversationBusyError):
        await start_turn(services, ANONYMOUS, first.conversation_id, TurnRequest("Hi"))
    await first.aclose()
    (span,) = taken.named("invoke_agent code-interpreter")
    assert attributes_of(span)["error.type"] == "ConversationBusy"
    assert taken.values(metrics.CONVERSATIONS_BUSY) == [1]


@pytest.mark.parametrize("begun", [True, False])
async def test_a_turn_whose_caller_leaves_is_abandoned(
    azure: SharedAzure, runtime: Runtime, *, begun: bool
) -> None:
    services = await runtime.conversations()
    with recorded() as taken, azure.model.using(lambda _: CallTool(code="while True: pass")):
        turn = await start_turn(services, ANONYMOUS, None, TurnRequest("Hi"))
        if begun:
            async for event in turn:
                if isinstance(event, ExecutionStarted):
                    break
        await turn.aclose()
    (span,) = taken.named("invoke_agent code-interpreter")
    assert attributes_of(span)["code_interpreter.outcome"] == "abandoned"
    assert span.status.status_code is StatusCode.UNSET


async def test_metrics_add_a_turn_up(azure: SharedAzure, runtime: Runtime) -> None:
    code = "open('/mnt/data/a.txt', 'w').write('12345')"
    with recorded() as taken, azure.model.script(CallTool(code=code), Say("Done.")):
        turn = await collect(stateless_turn(runtime.turns, TurnRequest("Hi")))
    assert taken.values(metrics.AGENT_INFERENCE_CALLS) == [2]
    assert taken.values(metrics.AGENT_TOOL_CALLS) == [1]
    assert taken.values(metrics.FILE_BYTES) == [5]
    assert sum(taken.values(metrics.INPUT_TOKENS)) == turn.finished.usage.prompt_tokens
    assert sum(taken.values(metrics.OUTPUT_TOKENS)) == turn.finished.usage.completion_tokens
    assert len(taken.values(metrics.INFERENCE_DURATION)) == 2
    assert len(taken.values(metrics.TOOL_DURATION)) == 1
    assert (metrics.TURNS, 1, {"code_interpreter.outcome": "stop"}) in taken.measurements
    assert {name for name, _, _ in taken.measurements} <= set(metrics.METRICS)
    # The conventions want it of tokens, and of nothing else.
    of_tokens = {name for name, _, said in taken.measurements if "gen_ai.token.modality" in said}
    assert of_tokens == {metrics.INPUT_TOKENS, metrics.OUTPUT_TOKENS}


@pytest.mark.parametrize(
    ("answer", "error_type", "status"),
    [
        (response({}, "retry-after-ms: 1", status=429), "429", 429),
        (response({}, "retry-after-ms: 1", status=503), "503", 503),
        (b"", "ReadError", None),
    ],
    ids=["throttled", "down", "no answer"],
)
async def test_an_attempt_of_the_model_that_fails_is_below_its_call_and_counted(
    open_runtime: OpenRuntime, answer: bytes, error_type: str, status: int | None
) -> None:
    said = {"choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}]}
    async with (
        raw_server(answer, response(said)) as server,
        open_runtime(azure_openai_endpoint=server.url) as runtime,
    ):
        with recorded() as taken:
            await collect(stateless_turn(runtime.turns, TurnRequest("Hi")))
    (chat,) = (span for span in taken.spans if span.name.startswith("chat "))
    (attempt,) = taken.named("POST chat/completions")
    assert attempt.parent == chat.context
    assert attempt.kind is SpanKind.CLIENT
    assert attempt.status.status_code is StatusCode.ERROR
    assert attributes_of(attempt)["error.type"] == error_type
    assert attributes_of(attempt).get("http.response.status_code") == status
    assert "error.type" not in attributes_of(chat)
    assert (metrics.RETRIES, 1, {"code_interpreter.service": "model"}) in taken.measurements
