"""Files that code writes to /mnt/data come back with the answer of a turn without memory."""

import base64
import json

import pytest

from agent.events import FileCreated
from agent.turns.turn import TurnRequest, stateless_turn
from local.azure_openai import CallTool, Say
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.turns import CollectedTurn, collect, tool_results

pytestmark = pytest.mark.asyncio(loop_scope="session")


def files_of(turn: CollectedTurn) -> dict[str, bytes]:
    files = [e.file for e in turn.events if isinstance(e, FileCreated)]
    return {f.name: base64.b64decode(f.url.partition(";base64,")[2]) for f in files}


async def test_a_file_that_code_writes_comes_with_the_answer(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    code = "open('/mnt/data/squares.csv', 'w').write('1,4,9')"
    with azure.model.script(CallTool(code=code), Say("Written.")) as script:
        async with open_runtime() as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Write.", stream=True)))
    assert files_of(turn) == {"squares.csv": b"1,4,9"}
    note = json.loads(tool_results(script.requests[1])[0])["note"]
    assert note == "[file: squares.csv, 5 bytes, given to the user]"


async def test_only_what_changed_is_shown_again(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    steps = (
        CallTool(code="a = open('/mnt/data/a.txt', 'w'); a.write('one'); a.flush()"),
        CallTool(code="open('/mnt/data/b.txt', 'w').write('two')"),
        CallTool(code="a.write('+'); a.flush()"),
        Say("Done."),
    )
    with azure.model.script(*steps):
        async with open_runtime() as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Write.", stream=True)))
    shown = [e.file.name for e in turn.events if isinstance(e, FileCreated)]
    assert shown == ["a.txt", "b.txt", "a.txt"]
    assert files_of(turn)["a.txt"] == b"one+"


async def test_a_file_too_large_for_an_answer_is_named_instead(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    code = "open('/mnt/data/big.bin', 'wb').write(bytes(2_000_000))"
    with azure.model.script(CallTool(code=code), Say("Written.")):
        async with open_runtime() as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Write.", stream=True)))
    assert files_of(turn) == {}
    assert turn.finished.warnings[0].code == "FileNotShown"
    assert "big.bin (2,000,000 bytes)" in turn.finished.warnings[0].message
