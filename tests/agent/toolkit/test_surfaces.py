"""A call of an own tool as callers, operators and later turns see it."""

import json
from typing import Any

import pytest

from agent.conversations.owner import ANONYMOUS
from agent.conversations.turn import start_turn
from agent.events import Event
from agent.http.agui import AguiEncoder
from agent.http.health import readiness
from agent.http.openai.answers import complete
from agent.http.openapi import document
from agent.http.schemas import ChatAnswer, TurnSchema
from agent.runtime import Runtime
from agent.turns.result import collect
from agent.turns.turn import TurnRequest, stateless_turn
from local.azure_openai import CallTool, CallTools, Say
from tests.conftest import SharedAzure
from tests.support.telemetry import attributes_of, recorded
from tests.support.turns import tool_results

pytestmark = pytest.mark.asyncio(loop_scope="session")

GO = TurnRequest("Go.")
BRING = CallTool(name="bring", arguments={"names": ["a.csv"]})
ADD = CallTool(name="add", arguments={"a": 1, "b": 2})
REFUSE = CallTool(name="refuse", arguments={})


async def test_the_answer_has_each_call(azure: SharedAzure, runtime: Runtime) -> None:
    steps = (CallTools([ADD, REFUSE, CallTool(code="1")]), Say("Done."))
    with azure.model.script(*steps):
        result = await collect(stateless_turn(runtime.turns, GO))
    answer = json.loads(ChatAnswer.of(result, None).model_dump_json())
    took = [call.pop("duration_ms") for call in answer["tool_calls"]]
    assert all(0 <= ms < 60_000 for ms in took)
    assert answer["tool_calls"] == [
        {"name": "add", "arguments": {"a": 1, "b": 2}, "status": "Succeeded", "result": "3"},
        {"name": "refuse", "arguments": {}, "status": "Failed", "result": "Only on Sundays."},
    ]
    assert len(answer["executions"]) == 1


async def test_agui_has_a_tool_call_and_the_file_that_it_brought(
    azure: SharedAzure, runtime: Runtime
) -> None:
    encoder = AguiEncoder("t", "r", operation_id="o")
    with azure.model.script(BRING, Say("Done.")):
        stream = b"".join([encoder.encode(e) async for e in stateless_turn(runtime.turns, GO)])
    events: list[dict[str, Any]] = [
        json.loads(line.removeprefix(b"data: ")) for line in stream.split(b"\n\n") if line
    ]
    start, arguments, end, file, result = events[:5]
    assert [event["type"] for event in events[:5]] == [
        "TOOL_CALL_START",
        "TOOL_CALL_ARGS",
        "TOOL_CALL_END",
        "CUSTOM",
        "TOOL_CALL_RESULT",
    ]
    assert start["toolCallName"] == "bring"
    assert json.loads(arguments["delta"]) == {"names": ["a.csv"]}
    assert file["value"]["url"] == "data:text/csv;base64,MQ=="
    assert json.loads(result["content"])["result"] == "1 files"
    ids = {event["toolCallId"] for event in (start, arguments, end, result)}
    assert len(ids) == 1


async def test_an_openai_client_gets_the_file(azure: SharedAzure, runtime: Runtime) -> None:
    with azure.model.script(BRING, Say("Done.")):
        completion = await complete(stateless_turn(runtime.turns, GO), "model")
    assert completion.choices[0].message.content == ("[a.csv](data:text/csv;base64,MQ==)\n\nDone.")


async def events_of(runtime: Runtime, conversation_id: str | None) -> tuple[str, list[Event]]:
    turn = await start_turn(await runtime.conversations(), ANONYMOUS, conversation_id, GO)
    return turn.conversation_id, [event async for event in turn]


async def test_a_conversation_keeps_calls_and_files(azure: SharedAzure, runtime: Runtime) -> None:
    with azure.model.script(CallTools([BRING, ADD]), Say("Done.")):
        id_, _ = await events_of(runtime, None)
    store = (await runtime.conversations()).store
    turn = TurnSchema.model_validate((await store.get(ANONYMOUS, id_)).turns[-1])
    assert [(call.name, call.result) for call in turn.tool_calls] == [
        ("bring", "1 files"),
        ("add", "3"),
    ]
    assert [file.url for file in turn.files] == [f"/api/conversations/{id_}/files/a.csv"]
    # The next turn: the model reads the calls again, and Python the file; no second one is made.
    code = CallTool(code="open('/mnt/data/a.csv').read()")
    with azure.model.script(code, BRING, Say("Done.")) as script:
        await events_of(runtime, id_)
    read = tool_results(script.requests[0])
    assert read[0].startswith("1 files")
    assert read[1] == "3"
    assert json.loads(tool_results(script.requests[1])[-1])["result"] == "1"
    assert "a-2.csv" in tool_results(script.requests[2])[-1]


async def test_a_file_is_put_back_where_its_session_is_gone(
    azure: SharedAzure, runtime: Runtime
) -> None:
    with azure.model.script(BRING, Say("Done.")):
        id_, _ = await events_of(runtime, None)
    azure.stack.pool.faults.lose_sessions()
    with azure.model.script(
        CallTool(code="open('/mnt/data/a.csv').read()"), Say("Done.")
    ) as script:
        await events_of(runtime, id_)
    assert json.loads(tool_results(script.requests[1])[-1])["result"] == "1"


@pytest.mark.parametrize("content", [False, True])
async def test_a_call_is_a_span_that_says_how_it_went(
    azure: SharedAzure, runtime: Runtime, content: bool
) -> None:
    with recorded(content=content) as taken, azure.model.script(REFUSE, Say("No.")):
        await collect(stateless_turn(runtime.turns, GO))
    (span,) = taken.named("execute_tool refuse")
    said = attributes_of(span)
    assert said.pop("gen_ai.tool.call.id")
    private = {
        "gen_ai.tool.call.arguments": "{}",
        "gen_ai.tool.call.result": '"Only on Sundays."',
    }
    assert said == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "refuse",
        "gen_ai.tool.type": "function",
        "error.type": "ToolFailed",
        **(private if content else {}),
    }
    assert taken.values("gen_ai.invoke_agent.tool_calls") == [1]


async def test_readiness_and_the_openapi_document_name_the_tools(runtime: Runtime) -> None:
    names = runtime.turns.tool_names
    assert names[0] == "execute_python"
    assert "add" in names
    assert (await readiness(runtime)).tools == list(names)
    description = json.loads(document(names))["info"]["description"]
    assert description.endswith(f"Its tools: {', '.join(names)}.")
