"""What the four sides get of a cell: caller, model, AG-UI client and OpenAI client."""

import base64
import json
import re
from typing import Any

import pytest

from agent.events import Event, TurnFinished
from agent.http.agui import AguiEncoder
from agent.http.openai.answers import ChunkEncoder
from agent.http.schemas import ChatAnswer
from agent.runtime import Runtime
from agent.turns.result import TurnRecord
from agent.turns.turn import TurnRequest, stateless_turn
from local.azure_openai import CallTool, Say
from tests.agent.turns.cells import CELLS, Cell
from tests.conftest import SharedAzure
from tests.support.turns import collect, tool_results

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("name", CELLS)
async def test_all_sides_get_what_a_cell_shows(
    azure: SharedAzure, module_runtime: Runtime, name: str
) -> None:
    cell = CELLS[name]
    with azure.model.script(CallTool(code=cell.code), Say("Done.")) as script:
        turn = await collect(stateless_turn(module_runtime.turns, TurnRequest("Go.", stream=True)))
    answer = answer_of(turn.events)
    (execution,) = answer["executions"]

    # The caller
    assert [kind_of(output) for output in execution["outputs"]] == [
        shown.partition(" ")[0] for shown in cell.shows
    ]
    for output, shown in zip(execution["outputs"], cell.shows, strict=True):
        kind, _, expected = shown.partition(" ")
        found = output["media_type"].removeprefix("image/") if kind == "image" else output["text"]
        assert is_like(found, expected)
    assert is_like(execution["stdout"], cell.stdout)
    assert_stderr(execution["stderr"], cell)
    assert is_like(execution["result"], cell.result)
    named = [output["file"] for output in execution["outputs"] if output.get("file")]
    assert [file["name"] for file in answer["files"]] == named
    if cell.in_file:
        assert cell.in_file in content_of(answer["files"][-1])
    assert answer["warnings"] == []

    # The model: text, and names in their places
    told = json.loads(tool_results(script.requests[1])[0])
    assert is_like(told.get("stdout", ""), cell.stdout)
    assert_stderr(told.get("stderr", ""), cell)
    read = told.get("outputs") or told.get("result", "")
    position = 0
    for output in execution["outputs"]:
        text = f"[image: {output['file']}, " if output["type"] == "image" else output["text"]
        position = read.index(text[:1000], position) + min(len(text), 1000)
    assert "base64" not in read
    assert len(read) <= 16_000

    # The AG-UI client: the execution, then a part for each file; and an event for each
    events = agui_events(turn.events)
    (result,) = [event for event in events if event["type"] == "TOOL_CALL_RESULT"]
    content = result["content"]
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    assert json.loads(parts[0]["text"]) == execution
    files = {file["name"]: file for file in answer["files"]}
    assert [
        (part["type"], part["metadata"]["name"], part["source"]["value"]) for part in parts[1:]
    ] == [
        (
            "image" if files[name]["media_type"].startswith("image/") else "document",
            name,
            files[name]["url"],
        )
        for name in named
    ]
    assert [event["value"] for event in events if event["type"] == "CUSTOM"] == answer["files"]

    # The OpenAI client: Markdown, in order
    links = re.findall(r"(!?)\[([^]]*)\]\((data:[^)]*)\)", openai_text(turn.events))
    assert [(bool(mark), name, url) for mark, name, url in links] == [
        (files[name]["media_type"].startswith("image/"), name, files[name]["url"]) for name in named
    ]


def kind_of(output: dict[str, Any]) -> str:
    return str(output["type"])


def is_like(found: str | None, expected: str | None) -> bool:
    if expected is not None and expected.endswith("…"):
        return found is not None and found.startswith(expected[:-1])
    return found == expected


def assert_stderr(stderr: str, cell: Cell) -> None:
    assert cell.stderr.removesuffix("…") in stderr
    assert bool(stderr) == bool(cell.stderr)


def content_of(file: dict[str, Any]) -> bytes:
    return base64.b64decode(file["url"].partition(";base64,")[2])


def answer_of(events: list[Event] | Any) -> dict[str, Any]:
    record = TurnRecord()
    for event in events:
        record.add(event)
    last = events[-1]
    assert isinstance(last, TurnFinished), last
    answer: dict[str, Any] = json.loads(ChatAnswer.of(record.result(last), None).model_dump_json())
    return answer


def agui_events(events: Any) -> list[dict[str, Any]]:
    encoder = AguiEncoder("thread", "run", operation_id="op")
    stream = b"".join(map(encoder.encode, events)).decode()
    return [json.loads(line[6:]) for line in stream.split("\n\n") if line.startswith("data: ")]


def openai_text(events: Any) -> str:
    encoder = ChunkEncoder("local", include_usage=False)
    stream = b"".join(map(encoder.encode, events)).decode()
    chunks = [json.loads(line[6:]) for line in stream.split("\n\n") if line.startswith('data: {"')]
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)
