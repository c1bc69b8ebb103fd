"""The same cell through pools that answer a request for all outputs in different ways."""

from collections.abc import Iterator

import pytest

from agent.events import Event, Execution, FileCreated
from agent.turns.turn import TurnRequest, stateless_turn
from local.azure_openai import CallTool, Say
from local.session_pool.http.wire.jupyter import JupyterFormat
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.turns import CollectedTurn, collect

pytestmark = pytest.mark.asyncio(loop_scope="session")

CODE = """
from PIL import Image
a = Image.new('RGB', (2, 2))
display(a); print('between'); display(a)
"""


@pytest.fixture
def pool(azure: SharedAzure) -> Iterator[SharedAzure]:
    yield azure
    azure.stack.pool.faults.clear()


def shown(execution: Execution) -> list[str]:
    return [output.type for output in execution.outputs]


def files(events: Iterator[Event]) -> list[str]:
    return [event.file.name for event in events if isinstance(event, FileCreated)]


async def turn_of(azure: SharedAzure, open_runtime: OpenRuntime, *codes: str) -> CollectedTurn:
    with azure.model.script(*(CallTool(code=code) for code in codes), Say("Done.")):
        async with open_runtime() as runtime:
            return await collect(stateless_turn(runtime.turns, TurnRequest("Go.", stream=True)))


@pytest.mark.parametrize(
    ("answer", "images"),
    [("list", 2), ("outputs", 2), ("mime bundle", 1), ("ignored", 1), ("refused", 1)],
)
async def test_figures_arrive_whatever_the_pool_makes_of_the_flag(
    pool: SharedAzure, open_runtime: OpenRuntime, answer: JupyterFormat, images: int
) -> None:
    pool.stack.pool.faults.jupyter_format = answer
    turn = await turn_of(pool, open_runtime, CODE, "[]", "6 * 7")
    first, empty, value = turn.executions
    assert shown(first) == ["image"] * images
    assert first.stdout == "between\n"
    assert empty.result == "[]"
    assert value.result == "42"
    assert files(iter(turn.events)) == [f"image-{n + 1}.png" for n in range(images)]


async def test_a_pool_that_refuses_the_flag_is_asked_with_it_once(
    pool: SharedAzure, open_runtime: OpenRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    pool.stack.pool.faults.jupyter_format = "refused"
    caplog.set_level("INFO", "agent")
    await turn_of(pool, open_runtime, "1", "2", "3")
    refusals = [r for r in caplog.records if "HTTP 400" in r.getMessage()]
    assert len(refusals) == 1
    assert "it has no Jupyter format" in caplog.text


async def test_the_setting_switches_it_off(pool: SharedAzure, open_runtime: OpenRuntime) -> None:
    with pool.model.script(CallTool(code=CODE), Say("Done.")):
        async with open_runtime(pool_jupyter_format=False) as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Go.", stream=True)))
    assert shown(turn.executions[0]) == ["image"]


async def test_what_is_too_large_for_an_answer_is_named_with_what_to_do(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    page = "from IPython.display import HTML\ndisplay(HTML('x' * {}))"
    turn = await turn_of(azure, open_runtime, page.format(1_200_000), page.format(10))
    big, small = turn.executions
    assert [output.file for output in (*big.outputs, *small.outputs) if output.type == "html"] == [
        None,
        "output-2.html",
    ]
    (warning,) = turn.finished.warnings
    assert warning.code == "FileNotShown"
    assert warning.message.startswith("output-1.html (1,200,039 bytes) is not part of the answer.")
    assert "conversation" in warning.message


async def test_all_files_of_an_answer_together_are_bounded(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    code = "for n in range(10): open(f'/mnt/data/{n}.bin', 'wb').write(bytes(1_000_000))"
    turn = await turn_of(azure, open_runtime, code)
    assert files(iter(turn.events)) == [f"{n}.bin" for n in range(8)]
    assert [w.message.split()[0] for w in turn.finished.warnings] == ["8.bin", "9.bin"]
