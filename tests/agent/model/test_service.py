"""The short cuts through openai and Semantic Kernel: the libraries must still take them."""

import asyncio
import json
from collections import Counter
from typing import Any

import httpx2
import pytest

from agent.model import service
from agent.model.sdk import openai
from agent.turns.turn import TurnRequest, stateless_turn
from local.azure_openai import CallTool, Say
from local.azure_openai.requests import AssistantMessage
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.turns import collect

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Each is called for a call of the model, whether its answer is read whole or in pieces.
SHORT_CUTS = {
    (service.ModelSettings, "__deepcopy__"),
    (service.ChatService, "_prepare_chat_history_for_request"),
    (service._Client, "_prepare_options"),
    (service._Client, "_build_request"),
    (service._Client, "_send_request"),
    (service._Client, "_process_response"),
    (service._Client, "_prepare_request"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "pieces"])
async def test_the_libraries_call_what_replaces_their_slow_paths(
    azure: SharedAzure, open_runtime: OpenRuntime, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    called: list[str] = []

    def watch(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            called.append(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, watched)

    for owner, name in SHORT_CUTS:
        watch(owner, name)
    with azure.model.script(CallTool(code="1 + 1"), Say("Two.")) as script:
        async with open_runtime() as runtime:
            request = TurnRequest("What is 1 + 1?", stream=stream)
            turn = await collect(stateless_turn(runtime.turns, request))
    assert turn.finished.output == "Two."
    assert set(called) == {name for _, name in SHORT_CUTS}
    assert min(map(called.count, called)) == 2, "once per model call"
    assert [bool(request.stream) for request in script.requests] == [stream, stream]


async def test_each_request_has_one_token_and_the_headers_of_the_first(
    azure: SharedAzure, open_runtime: OpenRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[httpx2.Request] = []
    build = service._Client._build_request

    def watched(*args: Any, **kwargs: Any) -> httpx2.Request:
        built.append(build(*args, **kwargs))
        return built[-1]

    monkeypatch.setattr(service._Client, "_build_request", watched)
    with azure.model.script(CallTool(code="1 + 1"), Say("Two.")):
        async with open_runtime() as runtime:
            await collect(stateless_turn(runtime.turns, TurnRequest("What is 1 + 1?")))
    tokens = [request.headers.get_list("authorization") for request in built]
    assert [len(each) for each in tokens] == [1, 1]
    assert all(token.startswith("Bearer ey") for each in tokens for token in each)
    first, second = (sorted({*request.headers} - {"content-length"}) for request in built)
    assert first == second
    assert {request.url.path for request in built} == {built[0].url.path}


async def test_the_tool_has_one_name_in_the_instructions_and_on_the_wire(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    with azure.model.script(CallTool(code="1 + 1"), Say("Two.")) as script:
        async with open_runtime() as runtime:
            await collect(stateless_turn(runtime.turns, TurnRequest("What is 1 + 1?")))
    first, second = script.requests
    assert [function.name for function in first.callable_tools] == ["execute_python"]
    assert "`execute_python`" in str(first.messages[0].content)
    said = second.messages[2]
    assert isinstance(said, AssistantMessage)
    assert [call.function.name for call in said.tool_calls or ()] == ["execute_python"]


class Tokens:
    """Has the token 0, and 1 once that was refused."""

    def __init__(self) -> None:
        self.renewed = 0

    async def __call__(self) -> str:
        return str(self.renewed)

    async def renew(self, refused: str) -> bool:
        if refused == "0":
            self.renewed = 1
        return refused == "0"


async def test_a_call_whose_token_was_refused_is_sent_once_more() -> None:
    sent: Counter[str] = Counter()
    accepted = ""

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent[request.headers["authorization"]] += 1
        accepts = request.headers["authorization"] == accepted
        assert request.content == b'{"messages":[]}'
        return httpx2.Response(200 if accepts else 401)

    deployment = service.Deployment("https://model.example", "a", "2024-10-21")
    client = service.chat_service(deployment, Tokens(), httpx2.MockTransport(answer)).client
    with pytest.raises(openai.AuthenticationError):
        await client.complete(b'{"messages":[]}')
    assert sent == {"Bearer 0": 1, "Bearer 1": 1}
    accepted = "Bearer 1"
    # The next one has the new token, and no third one is asked for.
    assert (await client.complete(b'{"messages":[]}')).status_code == 200
    assert sent == {"Bearer 0": 1, "Bearer 1": 2}


@pytest.mark.parametrize("count", [0, 1, 3, 20])
async def test_a_long_request_is_written_whole_while_others_go_on(count: int) -> None:
    said = {"role": "assistant", "content": "Größe 🙂 " * 100_000}
    request = {"messages": [said] * count, "stream": True, "model": "m"}
    writing = asyncio.create_task(service._written(request))
    turns = 0
    while not writing.done():
        turns += 1
        await asyncio.sleep(0)
    assert json.loads(writing.result()) == request
    assert turns >= count
