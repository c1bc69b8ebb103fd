"""What is said of output that the pool cut."""

import json

import pytest

from agent.turns.turn import TurnRequest, stateless_turn
from local.azure_openai import CallTool, Say
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.turns import collect, tool_results

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(
    ("code", "settings", "cut"),
    [
        ("print('x' * 2_000_000)", {}, {"stdout": 100_000}),
        ("import sys; sys.stderr.write('x' * 2_000_000);", {}, {"stderr": 100_000}),
        ("print('\u4e2d' * 90_000)", {"execution_output_max_chars": 50_000}, {"stdout": 50_000}),
        # The local pool's own bound, whatever it is asked for.
        ("print('x' * 200_000)", {"execution_output_max_chars": 1_000_000}, {"stdout": 131_072}),
        ("print('x' * 99_998)", {}, {}),
        ("print('x' * 3_000)", {}, {}),
        ("print('\N{GRINNING FACE}' * 3_000)", {}, {}),
    ],
)
async def test_the_caller_and_the_model_read_after_how_many_characters(
    azure: SharedAzure,
    open_runtime: OpenRuntime,
    code: str,
    settings: dict[str, int],
    cut: dict[str, int],
) -> None:
    with azure.model.script(CallTool(code=code), Say("Done.")) as script:
        async with open_runtime(**settings) as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Go.", stream=True)))
    expected = [
        f"The session pool cut {stream} of execution 1 after {chars:,} characters; how many "
        "followed is not known. Print less, or write to a file."
        for stream, chars in cut.items()
    ]
    assert [w.message for w in turn.finished.warnings if w.code == "OutputCut"] == expected
    told = json.loads(tool_results(script.requests[1])[0])
    assert told.get("note", "") == " ".join(expected)
