"""A file from outside, in a session that has no network: the whole way, by each API."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from agent.conversations.files import STORED_FILE_MAX_BYTES
from agent.conversations.owner import ANONYMOUS
from agent.conversations.turn import start_turn
from agent.errors import SettingsError
from agent.events import ToolFinished
from agent.http.agui import AguiEncoder
from agent.http.schemas import ChatAnswer
from agent.open_data.download import DOWNLOAD_MAX_BYTES
from agent.runtime import Runtime
from agent.tools.fetch_open_data import FetchOpenData
from agent.turns.result import collect as collect_result
from agent.turns.turn import TurnRequest, stateless_turn
from local.azure_openai import CallTool, CallTools, Say
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.https_sites import Web, web
from tests.support.open_data import CSV, URL, ok
from tests.support.own_tools import runtime_with_tools
from tests.support.tools_on_this_machine.fetch_open_data import WEBS
from tests.support.turns import collect, tool_results

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTS = "data.example.org, *.open.example"
ASK = TurnRequest("How many people live there?", stream=True)
FETCH = CallTool(name="fetch_open_data", arguments={"url": URL})
SUM = CallTool(
    code="import csv\n"
    "rows = csv.DictReader(open('/mnt/data/data.csv'))\n"
    "print(sum(int(row['people']) for row in rows))"
)
SAY = Say("535 thousand.")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hosts(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Web]:
    async with web(tmp_path_factory.mktemp("tls")) as opened:
        site = await opened.open("data.example.org")
        site.answers = {"/data.csv": ok(), "/other/data.csv": ok(b"a\n1\n")}
        WEBS.append(opened)
        yield opened
        WEBS.remove(opened)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def runtime(
    azure: SharedAzure, hosts: Web, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Runtime]:
    package = "tests.support.tools_on_this_machine"
    conversations = tmp_path_factory.mktemp("conversations")
    environment = {"OPEN_DATA_HOSTS": HOSTS}
    async with runtime_with_tools(azure.stack, package, environment, conversations) as opened:
        yield opened


async def test_code_reads_the_file_that_was_fetched(azure: SharedAzure, runtime: Runtime) -> None:
    with azure.model.script(FETCH, SUM, SAY) as script:
        turn = await collect(stateless_turn(runtime.turns, ASK))
    assert turn.executions[0].stdout == "535\n"
    (told, _) = tool_results(script.requests[-1])
    assert json.loads(told.partition("\n\n")[0]) == {
        "host": "data.example.org",
        "content_type": "text/csv",
        "size_bytes": len(CSV),
        "first_lines": CSV.decode().strip(),
    }
    assert "[file: data.csv, 33 bytes, in /mnt/data" in told
    (use,) = [event.use for event in turn.events if isinstance(event, ToolFinished)]
    assert (use.name, use.status, use.arguments) == ("fetch_open_data", "Succeeded", {"url": URL})


async def test_the_model_knows_which_hosts_are_allowed(
    azure: SharedAzure, runtime: Runtime
) -> None:
    with azure.model.script(Say("Hello.")) as script:
        await collect(stateless_turn(runtime.turns, ASK))
    tools = {tool.function.name: tool.function for tool in script.requests[0].tools or []}
    assert f"Allowed hosts: {HOSTS}." in (tools["fetch_open_data"].description or "")


async def test_json_has_the_call_and_the_file(azure: SharedAzure, runtime: Runtime) -> None:
    with azure.model.script(FETCH, SUM, SAY):
        result = await collect_result(stateless_turn(runtime.turns, ASK))
    answer = ChatAnswer.of(result, None).model_dump(mode="json")
    assert [call["name"] for call in answer["tool_calls"]] == ["fetch_open_data"]
    (file,) = answer["files"]
    assert (file["name"], file["media_type"]) == ("data.csv", "text/csv")
    assert base64.b64decode(file["url"].partition(",")[2]) == CSV


async def test_agui_has_the_call_and_the_file(azure: SharedAzure, runtime: Runtime) -> None:
    encoder = AguiEncoder("thread", "run", operation_id="op")
    with azure.model.script(FETCH, SUM, SAY):
        turn = await collect(stateless_turn(runtime.turns, ASK))
    blocks = b"".join([encoder.begin(), *map(encoder.encode, turn.events)]).decode().split("\n\n")
    events: list[dict[str, Any]] = [json.loads(block[len("data: ") :]) for block in blocks if block]
    starts = [event for event in events if event["type"] == "TOOL_CALL_START"]
    assert [event["toolCallName"] for event in starts] == ["fetch_open_data", "execute_python"]
    (file,) = [event["value"] for event in events if event.get("name") == "file"]
    assert file["name"] == "data.csv"


async def test_a_conversation_keeps_the_file_and_the_call(
    azure: SharedAzure, runtime: Runtime
) -> None:
    services = await runtime.conversations()
    with azure.model.script(FETCH, Say("I have it.")):
        first = await start_turn(services, ANONYMOUS, None, ASK)
        result = await collect_result(first)
    assert [file.name for file in result.files] == ["data.csv"]
    async with services.store.open_file(ANONYMOUS, first.conversation_id, "data.csv") as opened:
        assert b"".join([chunk async for chunk in opened[1]]) == CSV
    with azure.model.script(SUM, SAY) as script:
        second = await start_turn(services, ANONYMOUS, first.conversation_id, ASK)
        turn = await collect(aiter(second))
    assert turn.executions[0].stdout == "535\n"
    # The model reads in the second turn what it has fetched in the first.
    assert "data.csv" in tool_results(script.requests[0])[0]


async def test_two_files_of_one_name_are_two_files(azure: SharedAzure, runtime: Runtime) -> None:
    other = CallTool(
        name="fetch_open_data", arguments={"url": "https://data.example.org/other/data.csv"}
    )
    look = CallTool(
        code="import os\nprint(sorted(file.stat().st_size for file in os.scandir('/mnt/data')))"
    )
    with azure.model.script(CallTools([FETCH, other]), look, SAY):
        turn = await collect(stateless_turn(runtime.turns, ASK))
    assert turn.executions[0].stdout == f"[4, {len(CSV)}]\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"url": "https://evil.example/data.csv"},
            f"Host not allowed: evil.example. Allowed hosts: {HOSTS}.",
        ),
        ({"url": "https://data.example.org@evil.example/"}, "The URL must be https://"),
        ({"url": "http://data.example.org/data.csv"}, "The URL must be https://"),
        ({"url": URL, "method": "POST"}, "method"),
    ],
)
async def test_a_refusal_is_a_result_that_the_model_can_mend(
    azure: SharedAzure, runtime: Runtime, arguments: dict[str, str], words: str
) -> None:
    wrong = CallTool(name="fetch_open_data", arguments=arguments)
    with azure.model.script(wrong, FETCH, SUM, SAY) as script:
        turn = await collect(stateless_turn(runtime.turns, ASK))
    assert words in tool_results(script.requests[1])[0]
    assert turn.executions[0].stdout == "535\n"


async def test_what_is_fetched_a_conversation_keeps() -> None:
    assert DOWNLOAD_MAX_BYTES == STORED_FILE_MAX_BYTES
    description = str(FetchOpenData.fetch_open_data.__doc__)
    assert f"up to {DOWNLOAD_MAX_BYTES // 1024**2} MB" in description


async def test_without_hosts_there_is_no_such_tool(
    open_runtime: OpenRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPEN_DATA_HOSTS", raising=False)
    async with open_runtime() as runtime:
        assert "fetch_open_data" not in runtime.turns.tool_names


async def test_a_wrong_host_stops_the_start_and_names_the_setting(
    open_runtime: OpenRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPEN_DATA_HOSTS", "data.example.org, https://secret.example/")
    with pytest.raises(SettingsError, match=r"OPEN_DATA_HOSTS: entry 2 is not the name") as wrong:
        await open_runtime().__aenter__()
    assert "secret" not in str(wrong.value)
    monkeypatch.setenv("OPEN_DATA_HOSTS", HOSTS)
    async with open_runtime() as runtime:
        assert "fetch_open_data" in runtime.turns.tool_names
