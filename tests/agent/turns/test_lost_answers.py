"""What a turn does when the pool took code and did not tell what came of it."""

import json

import pytest

from agent.turns.turn import TurnRequest, stateless_turn
from local.azure_openai import CallTool, Say
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.telemetry import recorded
from tests.support.turns import collect, tool_results

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("fault", ["fail", "drop_connection"])
async def test_the_model_and_the_caller_hear_that_the_code_may_have_run(
    faults: SharedAzure, open_runtime: OpenRuntime, fault: str
) -> None:
    getattr(faults.stack.pool.faults, fault)(1)
    with faults.model.script(CallTool(code="1"), CallTool(code="2"), Say("2")) as script:
        async with open_runtime() as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Hi", stream=True)))
    told = json.loads(tool_results(script.requests[1])[0])
    assert "may have run" in told["note"]
    assert [(run.status, run.result) for run in turn.executions] == [
        ("Failed", None),
        ("Succeeded", "2"),
    ]
    assert [warning.code for warning in turn.finished.warnings] == ["ExecutionUnknown"]


async def test_a_pool_that_loses_one_answer_after_another_ends_the_turn(
    faults: SharedAzure, open_runtime: OpenRuntime
) -> None:
    faults.stack.pool.faults.fail(2)
    with faults.model.script(CallTool(code="1"), CallTool(code="1")):
        async with open_runtime() as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Hi", stream=True)))
    assert turn.error_code == "PoolAnswerLost"


@pytest.mark.parametrize(
    ("lost", "calls"),
    [("open('a.txt', 'w').write('a')", 3), ("6 * 7", 2)],
    ids=["it may have written a file", "it cannot have written one"],
)
async def test_files_of_code_whose_answer_was_lost_are_looked_for_after_the_next(
    faults: SharedAzure, open_runtime: OpenRuntime, lost: str, calls: int
) -> None:
    faults.stack.pool.faults.fail(1)
    with (
        recorded() as taken,
        faults.model.script(CallTool(code=lost), CallTool(code="1 + 1"), Say("2")),
    ):
        async with open_runtime() as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Hi", stream=True)))
    assert turn.finished.warnings
    assert len(taken.named("POST executions")) == calls
