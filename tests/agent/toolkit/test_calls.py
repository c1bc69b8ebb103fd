"""Own tools in a turn: whatever a model calls them with and whatever they do, there is a result."""

import asyncio
import json
from dataclasses import dataclass

import pytest

from agent.events import FileCreated, ToolFinished, ToolStarted, ToolUse
from agent.model.tool_calls import ToolRequest
from agent.runtime import Runtime
from agent.settings import Settings
from agent.turns.own_tools import AT_ONCE_MAX, OwnTools
from agent.turns.turn import TurnRequest, stateless_turn
from local.azure_openai import CallTool, CallTools, ChatRequest, Say, Step
from tests.agent.toolkit.conftest import SAMPLES, WriteTools
from tests.conftest import SharedAzure
from tests.support.telemetry import recorded
from tests.support.turns import CollectedTurn, collect, tool_results

pytestmark = pytest.mark.asyncio(loop_scope="session")


@dataclass(frozen=True)
class Told:
    """A turn, and what its model read of the calls of its first message."""

    turn: CollectedTurn
    results: list[str]
    requests: list[ChatRequest]

    @property
    def uses(self) -> list[ToolUse]:
        return [event.use for event in self.turn.events if isinstance(event, ToolFinished)]

    @property
    def files(self) -> list[str]:
        return [event.file.name for event in self.turn.events if isinstance(event, FileCreated)]


async def call(azure: SharedAzure, runtime: Runtime, *steps: Step) -> Told:
    with azure.model.script(*steps, Say("Done.")) as script:
        turn = await collect(stateless_turn(runtime.turns, TurnRequest("Go.", stream=True)))
    assert turn.finished.output.endswith("Done.")
    return Told(turn, tool_results(script.requests[-1]), script.requests)


OK, FAILED, NOT_RUN = "Succeeded", "Failed", "not run"


@pytest.mark.parametrize(
    ("name", "arguments", "outcome", "result"),
    [
        # What models write, met half-way.
        ("add", {"a": 1, "b": 2}, OK, "3"),
        ("add", {"a": "1", "b": "2"}, OK, "3"),
        ("add", {"a": 1, "b": 2, "note": None}, OK, "3"),
        ("add", '```json\n{"a": 1, "b": 2}\n```', OK, "3"),
        ("add", json.dumps('{"a": 1, "b": 2}'), OK, "3"),
        ("add", {"arguments": {"a": 1, "b": 2}}, OK, "3"),
        ("add", '{"a": 1, "b": 2', OK, "3"),
        ("functions.add", {"a": 1, "b": 2}, OK, "3"),
        ("ADD", {"a": 1, "b": 2}, OK, "3"),
        ("greet", {"name": "Ada"}, OK, "Good day, Ada"),
        ("greet", {"who": "Ada"}, OK, "Good day, Ada"),
        ("greet", "Ada", OK, "Good day, Ada"),
        ("greet", '"Ada"', OK, "Good day, Ada"),
        ("greet", "{'name': 'Ada'}", OK, "Good day, Ada"),
        ("describe", {"kind": "short", "limit": None}, OK, '{"kind":"short","limit":null}'),
        ("describe", {}, OK, '{"kind":"long","limit":3}'),
        ("describe", "", OK, '{"kind":"long","limit":3}'),
        ("nothing", {}, OK, "(nothing)"),
        ("in_a_thread", {}, OK, "not the loop's"),
        ("made", {"point": {"x": 1, "y": 2}}, OK, '{"x":2,"y":1}'),
        # What is not what the tool takes: it does not run, and the model is told why.
        ("add", {"a": 1}, NOT_RUN, "`b` is missing"),
        ("add", {"a": "one", "b": 2}, NOT_RUN, "`a`: Input should be a valid integer"),
        ("add", {"a": 1, "b": 2, "c": 3}, NOT_RUN, "an unexpected argument: c"),
        ("add", {"a": 1, "b": None}, NOT_RUN, "`b`: Input should be a valid integer"),
        ("add", "one and two", NOT_RUN, "malformed"),
        ("add", "[1, 2]", NOT_RUN, "malformed"),
        ("add", '{"a": NaN, "b": 2}', NOT_RUN, "did not run"),
        ("describe", {"limit": 11}, NOT_RUN, "less than or equal to 10"),
        ("describe", {"kind": "huge"}, NOT_RUN, "'short' or 'long'"),
        ("made", {"point": {"x": 1}}, NOT_RUN, "`point.y` is missing"),
        ("subtract", {"a": 1}, NOT_RUN, "There is no tool 'subtract'"),
        ("", {"a": 1, "b": 2}, NOT_RUN, "There is no tool"),
        ("turned_off", {}, NOT_RUN, "There is no tool 'turned_off'"),
        # What it does.
        ("refuse", {}, FAILED, "Only on Sundays."),
        ("crash", {}, FAILED, "The tool failed: KeyError."),
        ("cancel_itself", {}, FAILED, "The tool failed: CancelledError."),
        ("leave", {}, FAILED, "The tool failed: RuntimeError."),
        ("hang", {}, FAILED, "The tool did not end within 0 s."),
        ("hang_on", {}, FAILED, "The tool did not end within 0 s."),
        ("give_bytes", {}, FAILED, "bytes, not a text"),
        ("give_object", {}, FAILED, "a object, which is no text"),
        ("give_half_characters", {}, OK, "half: \N{REPLACEMENT CHARACTER}"),
        ("give_wrong_file", {}, FAILED, "The tool failed: TypeError."),
        ("give_much", {}, OK, "characters left out"),
    ],
)
async def test_each_call_has_a_result(
    azure: SharedAzure,
    runtime: Runtime,
    name: str,
    arguments: dict[str, object] | str,
    outcome: str,
    result: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = await call(azure, runtime, CallTool(name=name, arguments=arguments))
    (text,) = told.results
    assert result in text
    assert len(text) <= runtime.turns.options.output.model_max_chars
    assert "secret" not in text + caplog.text
    # Somebody has to find what is wrong.
    assert (f"tool {name} failed: " in caplog.text) == text.startswith("The tool failed: ")
    assert [use.status for use in told.uses] == ([] if outcome == NOT_RUN else [outcome])
    # The next request is one that every service takes.
    sent = told.requests[-1].messages[-2].model_dump()["tool_calls"][0]["function"]
    assert isinstance(json.loads(sent["arguments"]), dict)


async def test_the_model_is_told_what_a_tool_takes(azure: SharedAzure, runtime: Runtime) -> None:
    told = await call(azure, runtime)
    tools = {
        t["function"]["name"]: t["function"]
        for t in told.requests[0].model_dump(exclude_none=True)["tools"]
    }
    assert tools.keys() == set(runtime.turns.tool_names)
    assert tools["describe"] == {
        "name": "describe",
        "description": "Describes.\n\nIn some words.",
        "parameters": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "kind": {"enum": ["short", "long"], "type": "string"},
                "limit": {
                    "anyOf": [{"type": "integer", "minimum": 1, "maximum": 10}, {"type": "null"}],
                    "description": "at most so many",
                },
            },
        },
    }
    assert "$defs" in tools["made"]["parameters"]
    # What settings decide follows.
    assert tools["greet"]["description"] == "Greets.\nIt says: Good day."


async def test_calls_of_one_message_run_side_by_side(azure: SharedAzure, runtime: Runtime) -> None:
    """Each waits until the other is there; one after the other, both would time out."""
    both = CallTools([CallTool(name="meet", arguments={"me": me}) for me in ("a", "b")])
    told = await call(azure, runtime, both)
    assert told.results == ["a met b", "b met a"]
    assert [use.arguments for use in told.uses] != []


async def test_so_many_run_at_once_and_no_more(azure: SharedAzure, runtime: Runtime) -> None:
    told = await call(azure, runtime, CallTools([CallTool(name="crowd", arguments={})] * 9))
    assert told.results[-1] == str(AT_ONCE_MAX)
    told = await call(azure, runtime, CallTools([CallTool(name="few", arguments={})] * 4))
    assert told.results[-1] == "2"


async def test_a_call_that_finds_no_place_is_told_to_the_model(
    azure: SharedAzure, runtime: Runtime
) -> None:
    (few,) = [tool for tool in runtime.turns.tools if tool.name == "few"]
    soon = asyncio.get_running_loop().time() + 1
    async with few.place(soon), few.place(soon):
        told = await call(azure, runtime, CallTool(name="few", arguments={}))
    assert told.results[0].startswith("This tool is busy with the calls of others.")


async def test_results_stand_in_the_order_of_the_calls(
    azure: SharedAzure, runtime: Runtime
) -> None:
    calls = CallTools(
        [
            CallTool(name="later", arguments={"event": "python"}),
            CallTool(name="nobody", arguments={}),
            CallTool(name="add", arguments={"a": 1, "b": 2}),
        ]
    )
    told = await call(azure, runtime, calls)
    assert told.results[0] == "python at last"
    assert "There is no tool" in told.results[1]
    assert told.results[2] == "3"
    assert [use.name for use in told.uses] == ["add", "later"]
    started = [event.name for event in told.turn.events if isinstance(event, ToolStarted)]
    assert started == ["later", "add"]


async def test_code_finds_the_files_of_the_tools_that_were_called_before_it(
    azure: SharedAzure, runtime: Runtime
) -> None:
    code = "print(sorted(p.name for p in __import__('pathlib').Path('/mnt/data').iterdir()))"
    names = ["a.csv", "a.csv", "../../etc/passwd", "", ".hidden", "d\0é\n'?.csv", "C:\\x\\y.txt"]
    told = await call(
        azure,
        runtime,
        CallTools(
            [CallTool(name="bring", arguments={"names": names}), CallTool(code=code)],
        ),
    )
    expected = ["a.csv", "a-2.csv", "passwd", "file", "hidden", "d_é___.csv", "y.txt"]
    assert told.files == expected
    assert told.turn.executions[0].stdout == f"{sorted(expected)}\n"
    assert "[file: a-2.csv, 1 bytes, in /mnt/data, given to the user]" in told.results[0]
    assert told.uses[0].result == "7 files"
    assert told.turn.finished.warnings == ()


async def test_what_a_result_cannot_hold_is_left_out_with_a_warning(
    azure: SharedAzure, runtime: Runtime
) -> None:
    names = [f"{n}.txt" for n in range(18)]
    told = await call(azure, runtime, CallTool(name="bring", arguments={"names": names}))
    assert told.files == names[:16]
    assert [warning.code for warning in told.turn.finished.warnings] == ["FileNotShown"] * 2
    assert "17.txt (1 bytes) was left out: a result has up to 16 files." in told.results[0]


async def test_a_file_too_large_for_the_answer_is_there_for_code(
    azure: SharedAzure, runtime: Runtime
) -> None:
    code = "import os; os.path.getsize('/mnt/data/big.bin')"
    told = await call(azure, runtime, CallTool(name="bring_big", arguments={}), CallTool(code=code))
    assert told.files == []
    assert [warning.code for warning in told.turn.finished.warnings] == ["FileNotShown"]
    assert told.turn.executions[0].result == str(2 * 1024**2)


async def test_a_file_that_the_pool_does_not_take_is_told_and_no_failure(
    faults: SharedAzure, runtime: Runtime
) -> None:
    faults.stack.pool.faults.revoke_role()
    told = await call(faults, runtime, CallTool(name="bring", arguments={"names": ["a.csv"]}))
    assert told.files == []
    text = "a.csv (1 bytes) could not be put into the session."
    assert [w.message for w in told.turn.finished.warnings] == [text]
    assert told.results == [f"1 files\n\n{text}"]
    assert told.uses[0].status == "Succeeded"


def own_tools(runtime: Runtime, *, left_s: float) -> OwnTools:
    return OwnTools(
        runtime.turns.tools,
        runtime.turns.options.output,
        deadline=asyncio.get_running_loop().time() + left_s,
        emit=lambda _: None,
        interpreter=None,
    )


async def test_a_call_ends_in_time_for_the_answer(runtime: Runtime) -> None:
    request = ToolRequest("id", "wait", "{}")
    late = own_tools(runtime, left_s=0.9)
    assert await late.call(request) == "No time is left for tools. Answer now."
    in_time = own_tools(runtime, left_s=1.1)
    assert await in_time.call(request) == "The tool did not end within 1 s."


async def test_a_caller_that_leaves_ends_the_call(azure: SharedAzure, runtime: Runtime) -> None:
    with azure.model.script(CallTool(name="wait", arguments={})):
        turn = stateless_turn(runtime.turns, TurnRequest("Go.", stream=True))
        async for event in turn:
            if isinstance(event, ToolStarted):
                break
        await asyncio.sleep(0)
        await turn.aclose()
        await asyncio.sleep(0.01)
    with azure.model.script(CallTool(name="how_it_ended", arguments={}), Say("Done.")) as script:
        await collect(stateless_turn(runtime.turns, TurnRequest("And?", stream=True)))
    assert tool_results(script.requests[-1]) == ["cancelled"]


async def test_without_a_session_pool_tools_work_and_their_files_are_left_out(
    azure: SharedAzure, write_tools: WriteTools, runtime: Runtime
) -> None:
    known = {name.lower(): value for name, value in azure.stack.app_settings.items()}
    settings = Settings.model_validate(known | {"pool_management_endpoint": None})
    async with Runtime(settings, tools=write_tools(samples=SAMPLES)) as without_pool:
        told = await call(
            azure,
            without_pool,
            CallTools(
                [
                    CallTool(name="add", arguments={"a": 1, "b": 2}),
                    CallTool(name="bring", arguments={"names": ["a.csv"]}),
                ]
            ),
        )
    assert told.results[0] == "3"
    assert "a.csv (1 bytes) was left out: the app has no session pool." in told.results[1]
    codes = [warning.code for warning in told.turn.finished.warnings]
    assert codes == ["CodeInterpreterNotConfigured", "FileNotShown"]


TRACED = '''
from agent.toolkit.authoring import kernel_function
from opentelemetry import trace

@kernel_function
async def trace_it() -> str:
    """Where a span of the tool's own would hang."""
    return format(trace.get_current_span().get_span_context().span_id, "x")
'''


async def test_what_a_tool_records_by_itself_hangs_on_its_call(
    azure: SharedAzure, write_tools: WriteTools, identity_endpoint: None
) -> None:
    known = {name.lower(): value for name, value in azure.stack.app_settings.items()}
    settings = Settings.model_validate(known)
    with recorded() as taken:
        async with Runtime(settings, tools=write_tools(traced=TRACED)) as runtime:
            told = await call(azure, runtime, CallTool(name="trace_it", arguments={}))
    (span,) = taken.named("execute_tool trace_it")
    assert span.context
    assert told.results == [f"{span.context.span_id:x}"]
