"""What is exported holds nothing of what people asked, wrote, ran or own."""

import asyncio
import gzip
import json
from functools import partial
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent.conversations.owner import ANONYMOUS, pool_identifier
from agent.conversations.turn import start_turn
from agent.http.chat import ROUTES
from agent.http.dispatch import dispatch
from agent.runtime import close_runtime
from agent.telemetry import metrics
from agent.telemetry.turns import request_context
from agent.turns.turn import TurnRequest, stateless_turn
from local.azure_monitor import AzureMonitor
from local.azure_openai import CallTool, ChatRequest, Failed, Say, Step
from local.serving import serve
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.telemetry import QUIET_EXPORTERS, Recorded, recorded
from tests.support.turns import collect, tool_results

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTION, CODE, OUTPUT, ANSWER = "q-5f1e77", "c-90ab31", "o-77de02", "a-13c9f4"
FILE, ERROR = "f-44b0aa.txt", "e-b2c881"
PRIVATE = (QUESTION, CODE, OUTPUT, ANSWER, FILE, ERROR)
RUNS = (
    f"x = '{CODE}'; print('o-77' + 'de02'); open('/mnt/data/{FILE}', 'w').write('o-77de02')\n"
    "import os; os.environ.get('IDENTITY_HEADER')"
)
FAILS = f"raise ValueError('{ERROR}')  # {CODE}"


def exported(taken: Recorded) -> str:
    """All that leaves the process, as text: spans with resource, events and links; metrics."""
    spans = [span.to_json(indent=None) for span in taken.spans]
    return "\n".join([*spans, json.dumps(taken.measurements, default=str)])


def answers(request: ChatRequest) -> Step:
    """Run code that works, code that fails, and answer; call a tool by a name with a secret."""
    match len(tool_results(request)):
        case 0:
            return CallTool(code=RUNS)
        case 1:
            return CallTool(code=FAILS)
        case 2:
            return CallTool(name=f"tool-{CODE}", arguments=f'{{"code": "{CODE}"}}')
    return Say(ANSWER)


class Wire:
    """Takes whatever exporters send, Azure Monitor's and OTLP's, and keeps every byte."""

    def __init__(self) -> None:
        self.by_path: dict[str, bytes] = {}
        self.app = Starlette(routes=[Route("/{path:path}", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        body = await request.body()
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        path = request.url.path.strip("/")
        self.by_path[path] = self.by_path.get(path, b"") + body + str(request.url).encode()
        if "track" not in path:
            return Response()
        count = len(json.loads(body))
        return JSONResponse({"itemsReceived": count, "itemsAccepted": count, "errors": []})


async def test_no_byte_that_exporters_send_of_many_turns_is_private(
    azure: SharedAzure,
    open_runtime: OpenRuntime,
    identity_endpoint: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in QUIET_EXPORTERS.items():
        monkeypatch.setenv(name, value)
    wire = Wire()
    monitor = AzureMonitor(azure.stack.identity.verifier(""))
    async with serve(wire.app) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        destination = {"applicationinsights_connection_string": monitor.connection_string(url)}
        open_exporting = partial(open_runtime, **destination)
        secrets = await _many_turns(azure, open_exporting, tmp_path.as_uri())
    assert sorted(wire.by_path) == ["v1/metrics", "v1/traces", "v2.1/track"]
    for path in ("v1/traces", "v2.1/track"):
        assert wire.by_path[path].count(b"invoke_agent code-interpreter") >= 198
        assert b"execute_tool execute_python" in wire.by_path[path]
        assert b"POST executions" in wire.by_path[path]
    for path, sent in wire.by_path.items():
        for private in (*PRIVATE, *secrets):
            assert private.encode() not in sent, (path, private)


async def _many_turns(
    azure: SharedAzure, open_runtime: OpenRuntime, conversations_url: str
) -> set[str]:
    """Some two hundred, and the secrets that belong to them."""
    with azure.model.using(answers):
        async with open_runtime(conversations_url=conversations_url) as runtime:
            services = await runtime.conversations()
            turn = await start_turn(services, ANONYMOUS, None, TurnRequest(QUESTION))
            conversation = turn.conversation_id
            assert (await collect(aiter(turn))).finished.output.endswith(ANSWER)
            for number in range(3):
                again = TurnRequest(f"{QUESTION}-{number}", stream=bool(number % 2))
                await collect(aiter(await start_turn(services, ANONYMOUS, conversation, again)))
                await collect(stateless_turn(runtime.turns, again))
            key = await services.store.identifier_key()
    # Without an interpreter a turn is cheap.
    with azure.model.using(lambda _: Say(ANSWER)):
        async with open_runtime(pool_management_endpoint=None) as runtime:
            for number in range(190):
                asked = TurnRequest(f"{QUESTION}-{number}", stream=bool(number % 2))
                await collect(stateless_turn(runtime.turns, asked))
            azure.stack.openai.faults.inject(Failed(status=404))
            await collect(stateless_turn(runtime.turns, TurnRequest(QUESTION)))
    of_the_app = {azure.stack.app_settings["IDENTITY_HEADER"], "Bearer ", "eyJhbGci"}
    identifier = pool_identifier(key, ANONYMOUS, conversation)
    return {conversation, identifier, key.secret.hex()} | of_the_app


async def test_the_query_of_a_request_is_on_no_span(
    azure: SharedAzure, identity_endpoint: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in azure.stack.app_settings.items():
        monkeypatch.setenv(name, value)
    query = str(QueryParams({"input": QUESTION}))
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/chat",
        "query_string": query.encode(),
        "headers": [],
    }

    async def receive() -> dict[str, object]:
        await asyncio.Event().wait()
        raise AssertionError("the caller stays")

    try:
        with recorded() as taken, azure.model.script(Say(ANSWER)), request_context({}, ""):
            response = await ROUTES["chat"].handlers["GET"](Request(scope, receive))
    finally:
        await close_runtime()
    assert ANSWER in bytes(response.body).decode()
    assert taken.named("invoke_agent code-interpreter")
    assert QUESTION not in exported(taken)


async def test_of_an_upload_only_its_bytes_are_told(
    azure: SharedAzure,
    identity_endpoint: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name, value in azure.stack.app_settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CONVERSATIONS_URL", tmp_path.as_uri())
    conversations = partial(dispatch, "conversations", sign_in_required=False)
    files = partial(dispatch, "files", sign_in_required=False)
    app = Starlette(
        routes=[
            Route("/", conversations, methods=["POST"]),
            Route("/{conversation_id}", files, methods=["POST"]),
        ]
    )
    try:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app), base_url="http://agent"
        ) as api:
            conversation = (await api.post("/")).json()["id"]
            with recorded() as taken:
                reply = await api.post(f"/{conversation}", files={"file": (FILE, OUTPUT)})
    finally:
        await close_runtime()
    assert reply.status_code == 201, reply.text
    uploaded = {"code_interpreter.file.origin": "upload"}
    assert (metrics.FILE_BYTES, len(OUTPUT), uploaded) in taken.measurements
    for private in (FILE, OUTPUT, conversation):
        assert private not in exported(taken), private


async def test_the_operators_switch_puts_content_on_spans(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    with recorded(content=True) as taken, azure.model.script(CallTool(code=RUNS), Say(ANSWER)):
        async with open_runtime() as runtime:
            await collect(stateless_turn(runtime.turns, TurnRequest(QUESTION)))
    (agent,) = taken.named("invoke_agent code-interpreter")
    (tool,) = taken.named("execute_tool execute_python")
    assert agent.attributes
    assert tool.attributes
    asked = [{"role": "user", "parts": [{"type": "text", "content": QUESTION}]}]
    parts = [{"type": "text", "content": ANSWER}]
    said = [{"role": "assistant", "parts": parts, "finish_reason": "stop"}]
    assert json.loads(str(agent.attributes["gen_ai.input.messages"])) == asked
    assert json.loads(str(agent.attributes["gen_ai.output.messages"])) == said
    assert json.loads(str(tool.attributes["gen_ai.tool.call.arguments"])) == {"code": RUNS}
    assert json.loads(str(tool.attributes["gen_ai.tool.call.result"])) == f"{OUTPUT}\n"
