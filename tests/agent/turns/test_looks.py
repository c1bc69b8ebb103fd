"""When a conversation's session is looked at for files: not before code could have made any."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.conversations.owner import ANONYMOUS
from agent.conversations.turn import start_turn
from agent.events import FileCreated
from agent.runtime import Runtime
from agent.turns.may_write import may_use_files
from agent.turns.turn import TurnRequest
from local.azure_openai import CallTool, Say, Step
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.telemetry import recorded
from tests.support.turns import CollectedTurn, collect

pytestmark = pytest.mark.asyncio(loop_scope="session")

EXECUTES = "POST executions"
PUTS = "POST files"
HARMLESS = "import datetime\nx = datetime.date(2026, 1, 2)\nprint(x.year)"
WRITES = "open('made.txt', 'w').write('made')"


@pytest_asyncio.fixture(loop_scope="session")
async def runtime(open_runtime: OpenRuntime, tmp_path: Path) -> AsyncIterator[Runtime]:
    async with open_runtime(conversations_url=tmp_path.as_uri()) as opened:
        yield opened


async def ask(
    azure: SharedAzure, runtime: Runtime, conversation_id: str | None, *cells: str
) -> tuple[CollectedTurn, str, list[str]]:
    """A turn that runs these cells, its conversation's id, and what the pool was asked."""
    steps: list[Step] = [*map(CallTool, cells), Say("Done.")]
    with recorded() as taken, azure.model.script(*steps):
        started = await start_turn(
            await runtime.conversations(), ANONYMOUS, conversation_id, TurnRequest("Hi")
        )
        turn = await collect(started)
    spans = sorted(taken.spans, key=lambda span: span.start_time or 0)
    return turn, started.conversation_id, [s.name for s in spans if s.name in (EXECUTES, PUTS)]


def files_of(turn: CollectedTurn) -> list[str]:
    return [event.file.name for event in turn.events if isinstance(event, FileCreated)]


async def upload(runtime: Runtime, conversation_id: str, name: str, content: bytes) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield content

    store = (await runtime.conversations()).store
    await store.put_file(ANONYMOUS, conversation_id, name, chunks())


async def test_code_that_evidently_uses_no_files_is_all_that_its_session_is_asked(
    azure: SharedAzure, runtime: Runtime
) -> None:
    _, conversation_id, asked = await ask(azure, runtime, None, HARMLESS)
    assert asked == [EXECUTES]
    # The same session goes on, with its variables.
    turn, _, asked = await ask(azure, runtime, conversation_id, "print(x.month)", "print(x.day)")
    assert asked == [EXECUTES] * 2
    assert [run.stdout for run in turn.executions] == ["1\n", "2\n"]
    assert turn.finished.warnings == ()


async def test_after_code_that_may_write_every_execution_of_later_turns_is_followed_by_a_look(
    azure: SharedAzure, runtime: Runtime
) -> None:
    define = f"def make():\n    {WRITES}"
    _, conversation_id, asked = await ask(azure, runtime, None, HARMLESS, define, HARMLESS)
    looked, looked_before_and_after = [EXECUTES] * 2, [EXECUTES] * 3
    assert asked == [EXECUTES, *looked_before_and_after, *looked]
    turn, _, asked = await ask(azure, runtime, conversation_id, "make()")
    # The first look begins beside the model's call.
    assert asked == looked_before_and_after
    assert files_of(turn) == ["made.txt"]


async def test_a_session_has_the_conversations_files_once_code_may_use_them(
    azure: SharedAzure, runtime: Runtime
) -> None:
    _, conversation_id, _ = await ask(azure, runtime, None, HARMLESS)
    await upload(runtime, conversation_id, "data", b"1,2\n3,4\n")
    _, _, asked = await ask(azure, runtime, conversation_id, HARMLESS)
    assert asked == [EXECUTES]
    turn, _, asked = await ask(
        azure,
        runtime,
        conversation_id,
        HARMLESS,
        "import pandas as pd\nprint(pd.read_csv('data').columns.tolist())",
        "print(pd.read_csv('data').values.tolist())",
    )
    assert [run.stdout for run in turn.executions][1:] == ["['1', '2']\n", "[[3, 4]]\n"]
    look = EXECUTES
    assert asked == [EXECUTES, look, PUTS, look, EXECUTES, EXECUTES]
    assert files_of(turn) == []


async def test_a_session_that_was_lost_under_harmless_code_gets_its_files_when_they_are_used(
    faults: SharedAzure, open_runtime: OpenRuntime, tmp_path: Path
) -> None:
    async with open_runtime(conversations_url=tmp_path.as_uri()) as runtime:
        _, conversation_id, _ = await ask(faults, runtime, None, HARMLESS)
        await upload(runtime, conversation_id, "data", b"kept")
        faults.stack.pool.faults.lose_sessions()
        turn, _, asked = await ask(faults, runtime, conversation_id, "print(6 * 7)")
        assert asked == [EXECUTES]
        assert [warning.code for warning in turn.finished.warnings] == ["SessionLost"]
        turn, _, _ = await ask(faults, runtime, conversation_id, "print(open('data').read())")
        assert [run.stdout for run in turn.executions] == ["kept\n"]
        assert turn.finished.warnings == ()


async def test_of_turns_that_another_version_stored_it_is_not_known_what_they_wrote(
    azure: SharedAzure, runtime: Runtime, tmp_path: Path
) -> None:
    _, conversation_id, _ = await ask(azure, runtime, None, HARMLESS)
    history = tmp_path / ANONYMOUS.folder / conversation_id / "turns.jsonl"
    stored = history.read_text()
    history.write_text(re.sub(',"may_write":false', "", stored))
    assert history.read_text() != stored
    _, _, asked = await ask(azure, runtime, conversation_id, HARMLESS)
    assert asked == [EXECUTES] * 3


async def test_a_figure_is_kept_without_a_look(azure: SharedAzure, runtime: Runtime) -> None:
    plot = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
    turn, conversation_id, asked = await ask(azure, runtime, None, plot)
    assert asked == [EXECUTES]
    store = (await runtime.conversations()).store
    kept = await store.list_files(ANONYMOUS, conversation_id)
    assert [file.name for file in kept] == files_of(turn) == ["image-1-1.png"]


@pytest.mark.parametrize(
    ("code", "may"),
    [
        ("print(6 * 7)", False),
        (HARMLESS, False),
        ("import numpy as np\nnp.arange(3).mean()", False),
        (WRITES, True),
        ("import pandas as pd\npd.read_csv(name)", True),
        ("pd.read_excel('data')", True),
        ("import numpy as np\nnp.load(name)", True),
        ("np.loadtxt('data')", True),
        ("np.genfromtxt('data')", True),
        ("np.fromregex('data', pattern, types)", True),
        ("plt.imread('picture')", True),
        ("plt.style.use('mine')", True),
        ("from IPython.display import Image\nImage('picture')", True),
    ],
)
async def test_which_code_may_use_files(code: str, *, may: bool) -> None:
    assert may_use_files(code) is may
