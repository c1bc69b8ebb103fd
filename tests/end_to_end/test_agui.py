"""Streams over HTTP, read raw and by the official JavaScript client."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local.azure_openai import CallTool, Cut, PromptFiltered, Say, Slow
from tests.conftest import SharedAzure
from tests.support.agui_client import install, run_client
from tests.support.functions_host import HostProcess
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

STREAM = {"accept": "text/event-stream"}
PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nplt.show()"


async def events_of(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


async def streamed(
    api: httpx2.AsyncClient, path: str, method: str = "POST", **request: Any
) -> list[dict[str, Any]]:
    async with api.stream(method, path, headers=STREAM, **request) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        return [event async for event in events_of(response)]


def user(text: str, id_: str = "u") -> dict[str, str]:
    return {"id": id_, "role": "user", "content": text}


async def test_a_turn_streams_its_text_its_code_and_its_figure(
    azure: SharedAzure, api: httpx2.AsyncClient
) -> None:
    with azure.model.script(CallTool(code=PLOT, text="Let me draw."), Say("Here it is.")):
        events = await streamed(api, "/chat", json={"input": "Plot."})
    types = [event["type"] for event in events]
    assert types[0] == "RUN_STARTED"
    assert types[-1] == "RUN_FINISHED"
    order = ["TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "CUSTOM", "TOOL_CALL_RESULT"]
    assert [kind for kind in types if kind in order] == order
    text = "".join(e["delta"] for e in events if e["type"] == "TEXT_MESSAGE_CONTENT")
    assert text == "Let me draw.Here it is."
    file = next(event["value"] for event in events if event["type"] == "CUSTOM")
    assert file["media_type"] == "image/png"
    assert events[-1]["result"]["output"] == "Let me draw.\n\nHere it is."


async def test_a_question_in_the_query_streams_too(
    azure: SharedAzure, api: httpx2.AsyncClient
) -> None:
    with azure.model.script(Say("Hello.")):
        events = await streamed(api, "/chat", "GET", params={"input": "Hi"})
    assert events[-1]["result"]["output"] == "Hello."


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", "application/json"),
        ("application/json, text/event-stream;q=0.5", "application/json"),
        ("text/event-stream;q=0, */*", "application/json"),
        ("text/event-stream, application/json", "text/event-stream; charset=utf-8"),
    ],
)
async def test_the_caller_says_which_form_it_wants(
    azure: SharedAzure, api: httpx2.AsyncClient, accept: str, content_type: str
) -> None:
    with azure.model.script(Say("Hello.")):
        reply = await api.post("/chat", json={"input": "Hi"}, headers={"accept": accept})
    assert reply.headers["content-type"] == content_type


async def test_the_first_event_does_not_wait_for_the_model(
    azure: SharedAzure, api: httpx2.AsyncClient
) -> None:
    loop = asyncio.get_running_loop()
    with azure.model.script(Say("Warm."), Say("Late.")):
        await streamed(api, "/chat", json={"input": "Hi"})
        azure.stack.openai.faults.inject(Slow(before_answer_s=3))
        began_s = loop.time()
        async with api.stream("POST", "/chat", json={"input": "Hi"}, headers=STREAM) as response:
            events = events_of(response)
            first, after_s = await anext(events), loop.time() - began_s
            rest = [event async for event in events]
    assert first["type"] == "RUN_STARTED"
    assert after_s < 2.5
    assert rest[-1]["type"] == "RUN_FINISHED"


@pytest.mark.parametrize("path", ["/chat", "/agui"])
async def test_what_is_wrong_with_the_request_is_said_before_the_stream(
    api: httpx2.AsyncClient, path: str
) -> None:
    reply = await api.post(path, json={"nothing": 1}, headers=STREAM)
    assert reply.status_code == 400
    assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("fault", "code"), [(PromptFiltered(), "ContentFiltered"), (Cut(2), "ModelAnswerCut")]
)
async def test_a_failure_is_the_one_last_event(
    azure: SharedAzure, api: httpx2.AsyncClient, fault: PromptFiltered | Cut, code: str
) -> None:
    azure.stack.openai.faults.inject(fault, times=None)
    try:
        events = await streamed(api, "/chat", json={"input": "Hi"})
    finally:
        azure.stack.openai.faults.clear()
    last = [e for e in events if e["type"] in ("RUN_FINISHED", "RUN_ERROR")]
    assert last == [events[-1]]
    assert events[-1]["type"] == "RUN_ERROR"
    assert events[-1]["code"] == code
    assert events[-1]["metadata"]["operation_id"]


async def test_a_hang_up_between_two_words_ends_the_models_stream(
    azure: SharedAzure, api: httpx2.AsyncClient
) -> None:
    azure.stack.openai.faults.inject(Slow(between_chunks_s=0.1))
    before = azure.stack.openai.hang_ups.count
    with azure.model.script(Say("one two three four five " * 100)):
        async with api.stream("POST", "/chat", json={"input": "Hi"}, headers=STREAM) as response:
            async for event in events_of(response):
                if event["type"] == "TEXT_MESSAGE_CONTENT":
                    break
        async with asyncio.timeout(1):
            await azure.stack.openai.hang_ups.wait(before + 1)


async def test_a_hang_up_while_code_runs_gives_the_session_back(
    azure: SharedAzure, api: httpx2.AsyncClient
) -> None:
    def sessions() -> int:
        (count,) = re.findall(r"(\d+) sessions", repr(azure.stack.pool))
        return int(count)

    steps = (CallTool(code="1"), CallTool(code="import time; time.sleep(60)"))
    with azure.model.script(*steps):
        async with api.stream("POST", "/chat", json={"input": "Hi"}, headers=STREAM) as response:
            started = 0
            async for event in events_of(response):
                started += event["type"] == "TOOL_CALL_END"
                if started == 2:
                    break
            held = sessions()
    await until(lambda: sessions() != held)
    assert sessions() == held - 1


async def test_a_front_end_brings_its_own_history_and_context(
    azure: SharedAzure, api: httpx2.AsyncClient
) -> None:
    run = {
        "threadId": "thread-7",
        "runId": "run-9",
        "messages": [
            {"id": "1", "role": "system", "content": "Answer in French."},
            user("I am Ada.", "2"),
            {"id": "3", "role": "assistant", "content": "Enchantée."},
            user("Who am I?", "4"),
        ],
        "context": [{"description": "Page", "value": "Home"}],
    }
    with azure.model.script(Say("Ada.")) as script:
        events = await streamed(api, "/agui", json=run)
    assert (events[0]["threadId"], events[0]["runId"]) == ("thread-7", "run-9")
    system, *messages = script.requests[0].messages
    assert str(system.content).endswith("Answer in French.\n\nPage: Home")
    assert [(m.role, m.content) for m in messages] == [
        ("user", "I am Ada."),
        ("assistant", "Enchantée."),
        ("user", "Who am I?"),
    ]


async def test_a_thread_that_is_kept_goes_on_with_what_is_kept(
    azure: SharedAzure, api: httpx2.AsyncClient
) -> None:
    with azure.model.script(CallTool(code="x = 1"), Say("Kept.")):
        first = await api.post("/chat", json={"input": "Remember 1.", "conversation_id": "new"})
    id_ = first.json()["conversation_id"]
    run = {
        "threadId": id_,
        "runId": "run",
        "messages": [user("I never said this.", "1"), user("What was it?", "2")],
    }
    with azure.model.script(CallTool(code="x"), Say("1")) as script:
        events = await streamed(api, "/agui", json=run)
    assert events[-1]["result"]["conversation_id"] == id_
    (result,) = [e["content"] for e in events if e["type"] == "TOOL_CALL_RESULT"]
    assert json.loads(result)["result"] == "1"
    messages = [m.content for m in script.requests[0].messages if m.role == "user"]
    assert messages == ["Remember 1.", "What was it?"]
    turns = (await api.get(f"/conversations/{id_}")).json()["turns"]
    assert [turn["output"] for turn in turns] == ["Kept.", "1"]


@pytest.fixture(scope="module")
def client() -> Path:
    return install()


async def test_the_official_client_shows_text_code_and_result(
    azure: SharedAzure, host: HostProcess, client: Path
) -> None:
    steps = (CallTool(code="6 * 7", text="Let me see."), Say("It is 42."), Say("You asked that."))
    with azure.model.script(*steps) as script:
        report = await run_client(
            client,
            url=f"{host.url}/api/agui",
            threadId="thread",
            runs=[
                {"messages": [user("What is 6 times 7?", "u1")]},
                {"messages": [user("What did I ask?", "u2")]},
            ],
        )
    assert report["errors"] == []
    question, calling, result, answer, second_question, second_answer = report["messages"]
    assert [question["content"], second_question["content"]] == [
        "What is 6 times 7?",
        "What did I ask?",
    ]
    assert calling["content"] == "Let me see."
    (call,) = calling["toolCalls"]
    assert json.loads(call["function"]["arguments"]) == {"code": "6 * 7"}
    assert result["toolCallId"] == call["id"]
    assert json.loads(result["content"])["result"] == "42"
    assert answer["content"] == "It is 42."
    assert second_answer["content"] == "You asked that."
    assert [result["finish_reason"] for result in report["results"]] == ["stop", "stop"]
    messages = [(m.role, m.content) for m in script.requests[2].messages[1:]]
    assert messages == [
        ("user", "What is 6 times 7?"),
        ("assistant", "Let me see."),
        ("assistant", "It is 42."),
        ("user", "What did I ask?"),
    ]


async def test_the_official_client_gets_figures_as_events(
    azure: SharedAzure, host: HostProcess, client: Path
) -> None:
    with azure.model.script(CallTool(code=PLOT), Say("Here.")):
        report = await run_client(
            client, url=f"{host.url}/api/agui", threadId="t", runs=[{"messages": [user("Plot.")]}]
        )
    files = [e["value"] for e in report["events"] if e["type"] == "CUSTOM" and e["name"] == "file"]
    assert [file["media_type"] for file in files] == ["image/png"]


async def test_the_official_client_learns_why_a_run_failed(
    azure: SharedAzure, host: HostProcess, client: Path
) -> None:
    azure.stack.openai.faults.inject(PromptFiltered())
    report = await run_client(
        client, url=f"{host.url}/api/agui", threadId="t", runs=[{"messages": [user("Hi")]}]
    )
    assert [e["code"] for e in report["events"] if e["type"] == "RUN_ERROR"] == ["ContentFiltered"]
    assert report["results"] == [None]


async def test_the_official_client_can_abort_a_run(
    azure: SharedAzure, host: HostProcess, client: Path
) -> None:
    azure.stack.openai.faults.inject(Slow(between_chunks_s=0.1))
    before = azure.stack.openai.hang_ups.count
    with azure.model.script(Say("one two three four five " * 100)):
        report = await run_client(
            client,
            url=f"{host.url}/api/agui",
            threadId="t",
            runs=[{"messages": [user("Hi")]}],
            abortAt="TEXT_MESSAGE_CONTENT",
        )
        async with asyncio.timeout(1):
            await azure.stack.openai.hang_ups.wait(before + 1)
    assert "RUN_FINISHED" not in [event["type"] for event in report["events"]]
