"""The chat route over HTTP: host, app, sessions and tokens are real, the model follows a script."""

import asyncio
import base64
import datetime
import re
from typing import Any

import httpx2
import pytest

from local.azure_openai import (
    CallTool,
    ChatRequest,
    PromptFiltered,
    Say,
    Slow,
    Step,
    Throttled,
)
from tests.conftest import SharedAzure
from tests.end_to_end.sessions import live_sessions, wait_for_sessions
from tests.support import PROJECT
from tests.support.functions_host import HostProcess, host_process
from tests.support.processes import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTION = "What is the current date and time?"


async def test_the_tutorials_question_is_answered_by_code_that_ran(api: httpx2.AsyncClient) -> None:
    reply = await api.post("/chat", json={"input": QUESTION})
    assert reply.status_code == 200, reply.text
    answer = reply.json()
    (execution,) = answer["executions"]
    assert execution["status"] == "Succeeded"
    assert "datetime" in execution["code"]
    assert f"{datetime.datetime.now(datetime.UTC):%B %Y}" in answer["output"]
    assert answer["finish_reason"] == "stop"
    assert answer["conversation_id"] is None
    assert answer["usage"]["total_tokens"] > 0


async def test_get_and_post_answer_alike(azure: SharedAzure, api: httpx2.AsyncClient) -> None:
    steps = (CallTool(code="print('hi')\n1 + 1"), Say("Two."))
    with azure.model.script(*steps):
        got = (await api.get("/chat", params={"input": "1+1?"})).json()
    with azure.model.script(*steps):
        posted = (await api.post("/chat", json={"input": "1+1?"})).json()
    for answer in (got, posted):
        assert answer["executions"][0].pop("duration_ms") >= 0
    assert got == posted
    assert got["executions"] == [
        {
            "code": "print('hi')\n1 + 1",
            "status": "Succeeded",
            "stdout": "hi\n",
            "stderr": "",
            "result": "2",
            "outputs": [{"type": "text", "media_type": "text/plain", "text": "2"}],
        }
    ]


async def test_a_plot_comes_back_as_a_picture(azure: SharedAzure, api: httpx2.AsyncClient) -> None:
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nplt.show()"
    with azure.model.script(CallTool(code=code), Say("Here.")):
        answer = (await api.post("/chat", json={"input": "Plot."})).json()
    (file,) = answer["files"]
    content = base64.b64decode(file["url"].removeprefix("data:image/png;base64,"))
    assert content.startswith(b"\x89PNG")
    assert file["size_bytes"] == len(content)


async def test_a_file_that_is_written_twice_is_shown_as_it_is_at_the_end(
    azure: SharedAzure, api: httpx2.AsyncClient
) -> None:
    write = "open('/mnt/data/a.txt', 'w').write('{}')"
    steps = (CallTool(code=write.format(1)), CallTool(code=write.format(22)), Say("Done."))
    with azure.model.script(*steps):
        answer = (await api.post("/chat", json={"input": "Write."})).json()
    assert [(f["name"], f["size_bytes"]) for f in answer["files"]] == [("a.txt", 2)]


async def test_every_stateless_turn_has_a_session_of_its_own(
    azure: SharedAzure, api: httpx2.AsyncClient
) -> None:
    with azure.model.script(CallTool(code="secret = 1"), Say("Kept.")):
        await api.post("/chat", json={"input": "Remember."})
    with azure.model.script(CallTool(code="secret"), Say("Gone.")):
        answer = (await api.post("/chat", json={"input": "Recall."})).json()
    assert "NameError" in answer["executions"][0]["stderr"]


async def test_a_stateless_turn_gives_its_session_back(
    azure: SharedAzure, api: httpx2.AsyncClient
) -> None:
    before = await live_sessions(azure)
    with azure.model.script(CallTool(code="1"), Say("One.")):
        await api.post("/chat", json={"input": "One?"})
    await wait_for_sessions(azure, before)


async def test_a_turn_that_fails_gives_its_session_back(
    azure: SharedAzure, api: httpx2.AsyncClient
) -> None:
    before = await live_sessions(azure)

    def fails_after_the_code(request: ChatRequest) -> Step:
        azure.stack.openai.faults.inject(PromptFiltered())
        return CallTool(code="1")

    with azure.model.using(fails_after_the_code):
        reply = await api.post("/chat", json={"input": "One?"})
    assert reply.json()["code"] == "ContentFiltered"
    await wait_for_sessions(azure, before)


async def test_a_turn_whose_caller_hangs_up_gives_its_session_back(
    azure: SharedAzure, api: httpx2.AsyncClient
) -> None:
    before = await live_sessions(azure)
    with azure.model.script(CallTool(code="import time; time.sleep(30)")):
        turn = asyncio.create_task(api.post("/chat", json={"input": "Wait."}))
        await wait_for_sessions(azure, before + 1)
        turn.cancel()
        await wait_for_sessions(azure, before)


@pytest.mark.parametrize(
    ("request_", "status", "code", "field"),
    [
        ({"json": {}}, 400, "InvalidRequest", "input"),
        ({"json": {"input": ""}}, 400, "InvalidRequest", "input"),
        ({"json": {"input": "  \n"}}, 400, "InvalidRequest", "input"),
        ({"json": {"input": 5}}, 400, "InvalidRequest", "input"),
        ({"json": {"input": None}}, 400, "InvalidRequest", "input"),
        ({"json": {"input": "x", "sesion": "y"}}, 400, "InvalidRequest", "sesion"),
        ({"json": ["x"]}, 400, "InvalidRequest", None),
        ({"json": {"input": "x" * 100_001}}, 413, "PayloadTooLarge", "input"),
        (
            {"content": b" " * 16_000_000, "headers": {"content-type": "application/json"}},
            413,
            "PayloadTooLarge",
            None,
        ),
        (
            {"content": b'{"input": ', "headers": {"content-type": "application/json"}},
            400,
            "InvalidRequest",
            None,
        ),
        (
            {"content": b'{"input": "\xff"}', "headers": {"content-type": "application/json"}},
            400,
            "InvalidRequest",
            None,
        ),
        (
            {"content": b"input=x", "headers": {"content-type": "text/plain"}},
            415,
            "UnsupportedMediaType",
            None,
        ),
        ({"content": b"x"}, 415, "UnsupportedMediaType", None),
    ],
)
async def test_a_bad_body_is_refused_by_name(
    api: httpx2.AsyncClient,
    request_: dict[str, Any],
    status: int,
    code: str,
    field: str | None,
) -> None:
    reply = await api.post("/chat", **request_)
    problem = reply.json()
    assert reply.headers["content-type"] == "application/problem+json"
    assert (reply.status_code, problem["status"]) == (status, status)
    assert problem["code"] == code
    assert problem.get("field") == field
    assert problem["operation_id"]


@pytest.mark.parametrize(
    ("query", "field"),
    [("", "input"), ("input=", "input"), ("input=a&input=b", "input"), ("input=a&q=b", "q")],
)
async def test_a_bad_query_is_refused_by_name(
    api: httpx2.AsyncClient, query: str, field: str
) -> None:
    reply = await api.get(f"/chat?{query}")
    assert reply.status_code == 400
    assert reply.json()["field"] == field


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_wrong_method_is_told_the_right_ones(api: httpx2.AsyncClient, method: str) -> None:
    reply = await api.request(method, "/chat")
    assert reply.status_code == 405
    assert reply.headers["allow"] == "GET, POST"
    assert reply.json()["code"] == "MethodNotAllowed"


async def test_a_throttled_model_is_a_429_that_says_when_to_come_back(
    azure: SharedAzure, api: httpx2.AsyncClient
) -> None:
    azure.stack.openai.faults.inject(Throttled(retry_after_s=1), times=3)
    reply = await api.post("/chat", json={"input": "Hi"})
    assert reply.status_code == 429
    assert reply.json()["code"] == "ModelThrottled"
    assert int(reply.headers["retry-after"]) >= 1


async def test_a_refused_prompt_is_the_callers_error(
    azure: SharedAzure, api: httpx2.AsyncClient
) -> None:
    azure.stack.openai.faults.inject(PromptFiltered())
    reply = await api.post("/chat", json={"input": "Hi"})
    assert reply.status_code == 400
    assert reply.json()["code"] == "ContentFiltered"


async def test_a_caller_that_hangs_up_ends_the_turn(
    azure: SharedAzure, api: httpx2.AsyncClient
) -> None:
    azure.stack.openai.faults.inject(Slow(before_answer_s=20))
    hung_up = azure.stack.openai.hang_ups
    before = hung_up.count
    with pytest.raises(httpx2.ReadTimeout):
        await api.post("/chat", json={"input": "Hi"}, timeout=0.5)
    async with asyncio.timeout(1):
        await hung_up.wait(before + 1)


async def test_the_log_has_no_question_code_or_output(
    azure: SharedAzure, api: httpx2.AsyncClient, host: HostProcess
) -> None:
    with azure.model.script(CallTool(code="print('out' + 'put-8f2c')"), Say("answer-77aa")):
        reply = await api.post("/chat", json={"input": "question-31d0"})
    assert reply.json()["executions"][0]["stdout"] == "output-8f2c\n"
    wait_until(lambda: "Executed 'Functions.chat' (Succeeded" in host.output)
    assert "turn outcome=stop operation_id=" in host.output
    for private in ("question-31d0", "output-8f2c", "put-8f2c", "answer-77aa"):
        assert private not in host.output


async def test_the_same_trace_id_is_in_the_problem(api: httpx2.AsyncClient) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    reply = await api.post("/chat", json={}, headers=headers)
    assert reply.json()["operation_id"] == trace_id


async def test_missing_settings_are_named_by_the_running_app() -> None:
    with host_process(PROJECT, environment={"AZURE_OPENAI_ENDPOINT": "http://a.example"}) as host:
        host.wait_until_ready()
        async with httpx2.AsyncClient(base_url=host.url, timeout=30) as api:
            reply = await api.get("/api/chat?input=Hi")
    problem = reply.json()
    assert (reply.status_code, problem["code"]) == (500, "SettingsInvalid")
    assert re.search("AZURE_OPENAI_ENDPOINT: must be .* AZURE_OPENAI_CHAT", problem["detail"])
