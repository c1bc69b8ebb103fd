"""A whole turn with a model that decides for itself: the stand-in here, a real one on Azure."""

import pytest

from agent.http.health import readiness
from agent.runtime import Runtime
from agent.turns.turn import TurnRequest, stateless_turn
from tests.support.turns import collect

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("stream", [True, False])
async def test_the_model_runs_code_and_answers_with_its_result(
    runtime: Runtime, stream: bool
) -> None:
    turn = await collect(
        stateless_turn(runtime.turns, TurnRequest("What is 1234567 * 7654321?", stream=stream))
    )
    assert [execution.status for execution in turn.executions] == ["Succeeded"]
    assert "9449772114007" in turn.finished.output.replace(",", "")
    assert turn.finished.usage.total_tokens > 0


async def test_everything_that_a_turn_needs_can_be_had(runtime: Runtime) -> None:
    health = await readiness(runtime)
    assert {name: check.code for name, check in health.checks.items() if not check.ok} == {}
