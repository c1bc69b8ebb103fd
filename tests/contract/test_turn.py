"""A whole turn with a model that decides for itself: the stand-in here, a real one on Azure."""

import re
from dataclasses import replace

import pytest

from agent.http.health import readiness
from agent.pictures import picture_of
from agent.runtime import Runtime
from agent.turns.turn import TurnRequest, stateless_turn
from tests.support.pictures import PICTURES
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


async def test_a_picture_is_taken_by_a_model_that_sees(runtime: Runtime) -> None:
    services = replace(runtime.turns, options=replace(runtime.turns.options, sees=True))
    question = "Which colour fills most of the picture? Look, run no code, answer with one word."
    pictures = tuple(picture_of(content, "images") for content in PICTURES.values())
    turn = await collect(stateless_turn(services, TurnRequest(question, pictures=pictures)))
    # The stand-in is honest.
    assert re.search(r"\bred\b|I was shown a PNG", turn.finished.output, re.IGNORECASE)
