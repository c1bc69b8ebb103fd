"""Every way to name a file, and every place that code writes to."""

import json
import os
import unicodedata
from typing import Final

import pytest

from agent.runtime import Runtime
from agent.session_pool.names import path_of
from agent.telemetry import metrics
from agent.turns.turn import TurnRequest, stateless_turn
from local.azure_openai import CallTool, Say
from tests.agent.turns.test_files import files_of
from tests.conftest import SharedAzure
from tests.support.telemetry import recorded
from tests.support.turns import CollectedTurn, collect, tool_results

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def turn_of(azure: SharedAzure, module_runtime: Runtime, *codes: str) -> CollectedTurn:
    with azure.model.script(*(CallTool(code=code) for code in codes), Say("Done.")):
        return await collect(stateless_turn(module_runtime.turns, TurnRequest("Go.", stream=True)))


WAYS: Final[dict[str, tuple[str, dict[str, bytes]]]] = {
    "the data folder": ("open('/mnt/data/a.txt', 'w').write('a')", {"a.txt": b"a"}),
    "a path in pieces": (
        "from pathlib import Path\n(Path('/mnt') / 'data' / 'z.txt').write_text('z')",
        {"z.txt": b"z"},
    ),
    "a text in pieces": ("open('/mnt/' + 'data/a.txt', 'w').write('a')", {"a.txt": b"a"}),
    "a relative path": ("open('a.txt', 'w').write('a')", {"a.txt": b"a"}),
    "os.chdir": (
        "import os\nos.chdir('/mnt/data')\nopen('a.txt', 'w').write('a')",
        {"a.txt": b"a"},
    ),
    "os.chdir elsewhere": (
        "import os\nos.makedirs('/tmp/w')\nos.chdir('/tmp/w')\nopen('a.txt', 'w').write('a')",
        {"a.txt": b"a"},
    ),
    "before os.chdir": (
        "import os\nopen('a.txt', 'w').write('a')\nos.chdir('/mnt/data')\n"
        "open('b.txt', 'w').write('b')",
        {"a.txt": b"a", "b.txt": b"b"},
    ),
    "%cd": ("%cd -q /mnt/data\nopen('a.txt', 'w').write('a')", {"a.txt": b"a"}),
    "a folder": (
        "import os\nos.makedirs('/mnt/data/out/b')\nopen('/mnt/data/out/b/a.txt', 'w').write('a')",
        {"out/b/a.txt": b"a"},
    ),
    "a relative folder": (
        "import os\nos.makedirs('out.d')\nopen('out.d/a.txt', 'w').write('a')",
        {"out.d/a.txt": b"a"},
    ),
    "a command": ("!printf a > a.txt", {"a.txt": b"a"}),
    "a cell magic": ("%%writefile a.txt\na", {"a.txt": b"a\n"}),
    "a script": ("%%bash\nprintf a > a.txt", {"a.txt": b"a"}),
    "the future": (
        "from __future__ import annotations\nopen('a.txt', 'w').write('a')",
        {"a.txt": b"a"},
    ),
    "code that fails": ("open('a.txt', 'w').write('a')\n1/0", {"a.txt": b"a"}),
    "a file that stays open": ("f = open('a.txt', 'w'); f.write('a'); f.flush()", {"a.txt": b"a"}),
    "a library": (
        "import pandas as pd\npd.DataFrame({'a': [1]}).to_csv('a.csv', index=False)",
        {"a.csv": b"a\n1\n"},
    ),
    "an old date": (
        "import os\nopen('a.txt', 'w').write('a')\nos.utime('a.txt', (1, 1))",
        {"a.txt": b"a"},
    ),
    "the same in both places": (
        "open('a.txt', 'w').write('a')\nopen('/mnt/data/a.txt', 'w').write('a')",
        {"a.txt": b"a"},
    ),
    "another in both places": (
        "open('a.txt', 'w').write('a')\nopen('/mnt/data/a.txt', 'w').write('b')",
        {"a.txt": b"b", "working-directory-a.txt": b"a"},
    ),
}


@pytest.mark.parametrize("way", WAYS)
async def test_what_a_cell_writes_arrives(
    azure: SharedAzure, module_runtime: Runtime, way: str
) -> None:
    code, expected = WAYS[way]
    with azure.model.script(CallTool(code=code), Say("Done.")) as script:
        turn = await collect(stateless_turn(module_runtime.turns, TurnRequest("Go.", stream=True)))
    assert files_of(turn) == expected
    note = json.loads(tool_results(script.requests[1])[0])["note"]
    assert all(f"[file: {name}, " in note for name in expected)


async def test_tracebacks_have_the_lines_of_the_cell(
    azure: SharedAzure, module_runtime: Runtime
) -> None:
    turn = await turn_of(azure, module_runtime, "open('a.txt', 'w')\n\n1/0")
    assert "----> 3 1/0" in turn.executions[0].stderr


async def test_what_is_written_through_an_open_file_arrives_again(
    azure: SharedAzure, module_runtime: Runtime
) -> None:
    turn = await turn_of(
        azure,
        module_runtime,
        "f = open('a.txt', 'w'); f.write('one'); f.flush()",
        "f.write('+two'); f.close()",
        "1",
    )
    assert files_of(turn) == {"a.txt": b"one+two"}


async def test_a_cell_sees_what_the_one_before_wrote(
    azure: SharedAzure, module_runtime: Runtime
) -> None:
    turn = await turn_of(
        azure, module_runtime, "open('a.txt', 'w').write('a')", "open('a.txt').read()"
    )
    assert turn.executions[1].result == "a"


async def test_code_that_breaks_what_a_look_stands_on_still_brings_its_files(
    azure: SharedAzure, module_runtime: Runtime
) -> None:
    turn = await turn_of(
        azure,
        module_runtime,
        "import os\nopen('/mnt/data/a.txt', 'w').write('a')\nos.scandir = None",
    )
    assert files_of(turn) == {"a.txt": b"a"}


async def test_a_session_that_is_replaced_in_a_turn_gets_its_files_back(
    azure: SharedAzure, module_runtime: Runtime
) -> None:

    scripted = azure.model.script(
        CallTool(code="x = 1; open('/mnt/data/it\\'s.txt', 'w').write('a')"),
        CallTool(code="print('x' in globals())"),
        CallTool(code='print(open("/mnt/data/it\'s.txt").read())'),
        Say("Done."),
    )
    with recorded() as taken, scripted as script:
        events = []
        async for event in stateless_turn(module_runtime.turns, TurnRequest("Go.", stream=True)):
            events.append(event)
            if type(event).__name__ == "ExecutionFinished" and len(script.requests) == 1:
                azure.stack.pool.faults.lose_sessions()
    turn = CollectedTurn(events)
    assert [run.stdout for run in turn.executions] == ["", "False\n", "a\n"]
    told = tool_results(script.requests[2])[-1]
    assert "The session was replaced" in told
    assert "files were put back" in told
    assert [w.code for w in turn.finished.warnings] == ["SessionLost"]
    assert taken.values(metrics.SESSIONS_LOST) == [1]


NAMES: Final = (
    *(f"a{mark}b.txt" for mark in "'+[]{}:\"!?*<>|~`^&=;,#%()$@\\"),
    *("-dash", "--help", "a b", " a", "a ", ".hidden", "..a", "a.", "no-extension", "a..b"),
    *("é.txt", unicodedata.normalize("NFD", "é.txt"), "中文.csv", "עברית", "a\N{GRINNING FACE}"),
    *("a\nb", "a\tb", "a\x01b", "a\x7fb", "%41.txt", "%", "a%2Fb", "a+b c&d=e.txt", "con", "NUL"),
    *("transfer-", "transfer-prices.csv", "transfer-" + "0" * 31, "transfer-" + "0" * 32 + ".csv"),
    *("x" * 251 + ".txt", "中" * 85, "a\\xe9b", "a\\x5cb", "a\\x5cxe9b", "\u202ea", "\ufeffa"),
    *("d/a", "d.e/f/a.txt", "-d/-a", "d'/a", "é/é", "a;b/c"),
    *(os.fsdecode(raw) for raw in (b"caf\xe9.txt", b"\xff", b"d\xff/a", b"\x80\\x80")),
)


async def test_every_name_of_a_file_arrives_once(
    azure: SharedAzure, module_runtime: Runtime
) -> None:
    assert len(NAMES) >= 60
    raw = {os.fsencode(name): str(number) for number, name in enumerate(NAMES)}
    code = (
        f"import os\nfor name, text in {raw!r}.items():\n"
        "    path = b'/mnt/data/' + name\n"
        "    os.makedirs(os.path.dirname(path), exist_ok=True)\n"
        "    open(path, 'w').write(text)\n"
    )
    turn = await turn_of(azure, module_runtime, code)

    assert {path_of(name): text.decode() for name, text in files_of(turn).items()} == raw
