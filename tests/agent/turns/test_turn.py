"""A turn against the local Azure: real sessions, real tokens, a scripted model."""

import asyncio
import json

import pytest

from agent.events import ExecutionStarted, FileCreated
from agent.turns.turn import TurnRequest, stateless_turn
from local.azure_openai import CallTool, CallTools, ChatRequest, Say, Slow, Step
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.turns import collect, tool_results

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_answer_tells_what_the_code_printed(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    with azure.model.script(CallTool(code="print(6 * 7)"), Say("It is 42.")) as script:
        async with open_runtime() as runtime:
            turn = await collect(
                stateless_turn(runtime.turns, TurnRequest("What is 6 times 7?", stream=True))
            )
    assert turn.finished.output == "It is 42."
    assert turn.finished.finish_reason == "stop"
    assert [(e.status, e.stdout) for e in turn.executions] == [("Succeeded", "42\n")]
    assert json.loads(tool_results(script.requests[1])[0])["stdout"] == "42\n"


@pytest.mark.parametrize("settings", [{}, {"pool_management_endpoint": None}])
async def test_the_model_reads_the_instructions_of_the_apps_owner_last(
    azure: SharedAzure, open_runtime: OpenRuntime, settings: dict[str, None]
) -> None:
    request = TurnRequest("Hi", instructions="The caller's.")
    with azure.model.script(Say("Hi.")) as script:
        async with open_runtime(agent_instructions="Be a pirate.", **settings) as runtime:
            await collect(stateless_turn(runtime.turns, request))
    (asked,) = script.requests
    assert [message.role for message in asked.messages] == ["system", "user"]
    instructions = str(asked.messages[0].content)
    assert instructions.startswith("You answer questions.")
    assert instructions.endswith("\nThe caller's.\nBe a pirate.")
    # A small model reads them with each call, on a processor: 300 tokens are a second or two.
    assert len(instructions) < 1_400


async def test_the_tokens_of_all_model_calls_are_counted(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    async with open_runtime() as runtime:
        with azure.model.script(Say("Hello.")):
            one = (
                await collect(stateless_turn(runtime.turns, TurnRequest("Hi", stream=True)))
            ).finished.usage
        with azure.model.script(CallTool(code="1"), Say("Hello.")):
            two = (
                await collect(stateless_turn(runtime.turns, TurnRequest("Hi", stream=True)))
            ).finished.usage
    assert one.completion_tokens > 0
    assert two.prompt_tokens > 2 * one.prompt_tokens


async def test_two_calls_in_one_message_run_in_order_in_the_same_session(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    calls = CallTools(
        [CallTool(code="import time; time.sleep(0.3); x = 1"), CallTool(code="x + 1")]
    )
    with azure.model.script(calls, Say("2")):
        async with open_runtime() as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Count.", stream=True)))
    assert [e.result for e in turn.executions] == [None, "2"]


async def test_code_that_raises_is_a_result_that_the_model_can_repair(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    with azure.model.script(CallTool(code="1/0"), CallTool(code="1/1"), Say("1")) as script:
        async with open_runtime() as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Divide.", stream=True)))
    assert [e.status for e in turn.executions] == ["Failed", "Succeeded"]
    assert "ZeroDivisionError" in tool_results(script.requests[1])[0]


async def test_a_warning_on_stderr_is_not_a_failure(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    code = "import sys; print('careful', file=sys.stderr)"
    with azure.model.script(CallTool(code=code), Say("done")):
        async with open_runtime() as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Warn.", stream=True)))
    assert turn.executions[0].status == "Succeeded"
    assert turn.executions[0].stderr == "careful\n"


async def test_a_figure_reaches_the_caller_and_only_its_name_the_model(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.gcf()"
    with azure.model.script(CallTool(code=code), Say("Here it is.")) as script:
        async with open_runtime() as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Plot.", stream=True)))
    file = next(e.file for e in turn.events if isinstance(e, FileCreated))
    assert (file.name, file.media_type) == ("image-1.png", "image/png")
    assert file.url.startswith("data:image/png;base64,iVBOR")
    result = tool_results(script.requests[1])[0]
    assert "[image: image-1.png, " in result
    assert "base64" not in result
    assert len(result) < 500


async def test_the_model_reads_head_and_tail_of_long_output(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    code = "print('first'); print('x' * 5000); print('last')"
    with azure.model.script(CallTool(code=code), Say("done")) as script:
        async with open_runtime(model_output_max_chars=300) as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Print.", stream=True)))
    result = json.loads(tool_results(script.requests[1])[0])["stdout"]
    assert result.startswith("first")
    assert result.endswith("last\n")
    assert "characters left out" in result
    assert len(result) == 300
    assert len(turn.executions[0].stdout) == 5012


async def test_a_model_that_only_calls_tools_must_answer_when_the_rounds_are_used_up(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    def insists(request: ChatRequest) -> Step:
        return CallTool(code="1") if request.callable_tools else Say("I give up.")

    with azure.model.using(insists):
        async with open_runtime(tool_rounds=3) as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Loop.", stream=True)))
    assert len(turn.executions) == 3
    assert turn.finished.output == "I give up."
    assert turn.finished.finish_reason == "tool_rounds"


async def test_code_ends_in_time_for_the_model_to_answer(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    def insists(request: ChatRequest) -> Step:
        if request.callable_tools:
            return CallTool(code="import time; time.sleep(60)")
        return Say("It takes too long.")

    with azure.model.using(insists):
        async with open_runtime(turn_timeout_seconds=5) as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Sleep.", stream=True)))
    assert [e.status for e in turn.executions] == ["Failed"]
    assert turn.finished.finish_reason == "deadline"


async def test_a_model_that_does_not_answer_ends_the_turn_at_its_deadline(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    azure.stack.openai.faults.inject(Slow(before_answer_s=30))
    began = asyncio.get_running_loop().time()
    async with open_runtime(turn_timeout_seconds=5) as runtime:
        turn = await collect(stateless_turn(runtime.turns, TurnRequest("Hi", stream=True)))
    assert turn.error_code == "DeadlineExceeded"
    assert asyncio.get_running_loop().time() - began < 15


async def test_malformed_arguments_are_told_to_the_model(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    malformed = CallTool(name="execute_python", arguments='{"code": ')
    with azure.model.script(malformed, Say("Sorry.")) as script:
        async with open_runtime() as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Hi", stream=True)))
    assert "malformed" in tool_results(script.requests[1])[0]
    assert turn.executions == []
    assert turn.finished.output == "Sorry."


async def test_the_model_cannot_name_a_session(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    named = CallTool(name="execute_python", arguments={"code": "1", "identifier": "somebody-else"})
    with azure.model.script(named, Say("No.")) as script:
        async with open_runtime() as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Hi", stream=True)))
    assert turn.executions == []
    assert "unexpected argument" in tool_results(script.requests[1])[0]


async def test_the_text_of_each_model_call_is_a_message_of_its_own(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    with azure.model.script(CallTool(code="1", text="Let me see."), Say("One.")):
        async with open_runtime() as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Hi", stream=True)))
    assert turn.texts == ["Let me see.", "One."]
    assert turn.finished.output == "Let me see.\n\nOne."


async def test_an_execution_is_announced_before_it_ends(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    loop = asyncio.get_running_loop()
    times: dict[str, float] = {}
    with azure.model.script(CallTool(code="import time; time.sleep(0.5)"), Say("Done.")):
        async with open_runtime() as runtime:
            async for event in stateless_turn(runtime.turns, TurnRequest("Hi", stream=True)):
                times.setdefault(type(event).__name__, loop.time())
    assert times["ExecutionFinished"] - times[ExecutionStarted.__name__] > 0.4


async def test_without_a_pool_the_agent_answers_and_says_that_it_ran_nothing(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    with azure.model.script(Say("I cannot run code.")) as script:
        async with open_runtime(pool_management_endpoint=None) as runtime:
            turn = await collect(
                stateless_turn(runtime.turns, TurnRequest("What time is it?", stream=True))
            )
    assert not script.requests[0].callable_tools
    assert [w.code for w in turn.finished.warnings] == ["CodeInterpreterNotConfigured"]
