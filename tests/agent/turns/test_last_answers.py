"""The last answer of a turn: in time, in words, or with a warning; what of it is kept and sent."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.conversations.owner import ANONYMOUS
from agent.conversations.turn import start_turn
from agent.messages import Message, ToolCall
from agent.model import call
from agent.runtime import Runtime
from agent.turns.turn import TurnRequest, stateless_turn
from local.azure_openai import CallTool, ChatRequest, Say, Slow, Step
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.raw_server import events, raw_server, response
from tests.support.telemetry import attributes_of, recorded
from tests.support.turns import CollectedTurn, collect, tool_results

pytestmark = pytest.mark.asyncio(loop_scope="session")

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["JSON", "events"])
HALF = events({"choices": [{"delta": {"content": "Half an"}}]}, done=False, ends=False)


@pytest_asyncio.fixture(loop_scope="session")
async def runtime(open_runtime: OpenRuntime, tmp_path: Path) -> AsyncIterator[Runtime]:
    async with open_runtime(conversations_url=tmp_path.as_uri()) as opened:
        yield opened


class Conversation:
    """Turns of one conversation."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.id: str | None = None

    async def ask(self, question: str) -> CollectedTurn:
        services = await self._runtime.conversations()
        turn = await start_turn(services, ANONYMOUS, self.id, TurnRequest(question))
        self.id = turn.conversation_id
        return await collect(aiter(turn))


def roles(request: ChatRequest) -> list[str]:
    return [message.role for message in request.messages]


@BOTH
async def test_at_the_deadline_the_text_so_far_is_the_answer(
    open_runtime: OpenRuntime, stream: bool
) -> None:
    async with raw_server(HALF) as server:
        server.hold = asyncio.Event()
        async with open_runtime(
            azure_openai_endpoint=server.url, turn_timeout_seconds=5
        ) as runtime:
            options = runtime.turns.options
            object.__setattr__(options, "timeout_s", 0.5)
            request = TurnRequest("Count without end.", stream=stream)
            turn = await collect(stateless_turn(runtime.turns, request))
    assert turn.finished.output == "Half an"
    assert turn.finished.finish_reason == "deadline"
    assert turn.texts == ["Half an"]
    assert [message.text for message in turn.finished.messages] == ["Count without end.", "Half an"]


NOTHING = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n"


@pytest.mark.parametrize("whole", [NOTHING, HALF], ids=["nothing", "a stream all the same"])
async def test_a_whole_answer_that_takes_too_long_is_asked_for_as_a_stream(
    open_runtime: OpenRuntime, monkeypatch: pytest.MonkeyPatch, whole: bytes
) -> None:
    monkeypatch.setattr(call, "SLOW_S", 0)
    monkeypatch.setattr(call, "STREAM_LAST_S", 4.7)
    answer = events({"choices": [{"delta": {"content": "Two."}}]})
    async with raw_server() as server:
        server.choose = lambda body: answer if body.get("stream") else whole
        server.hold = asyncio.Event()
        async with open_runtime(
            azure_openai_endpoint=server.url, turn_timeout_seconds=5
        ) as runtime:
            with recorded() as taken:
                turn = await collect(stateless_turn(runtime.turns, TurnRequest("1 + 1?")))
            server.hold.set()
            again = await collect(stateless_turn(runtime.turns, TurnRequest("1 + 1?")))
    assert (turn.finished.output, turn.finished.finish_reason) == ("Two.", "stop")
    assert again.finished.output == "Two."
    asked = [bool(body.get("stream")) for body in server.bodies]
    # The first is not there at all where the machine is so slow that it was not even sent.
    assert asked[-2:] == [True, True]
    assert sum(asked) == 2
    # The trace tells of both, and how the call was answered.
    (chat,) = (span for span in taken.spans if span.name.startswith("chat "))
    assert attributes_of(chat)["gen_ai.request.stream"]
    given_up = taken.named("POST chat/completions")
    assert len(given_up) == 1 or False not in asked
    for span in given_up:
        assert span.parent == chat.context
        assert attributes_of(span)["error.type"] == "timeout"
        assert (span.end_time or 0) - (span.start_time or 0) > 10_000_000


async def test_a_model_that_said_nothing_until_the_deadline_has_not_answered(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    azure.stack.openai.faults.inject(Slow(before_answer_s=30))
    async with open_runtime(turn_timeout_seconds=5) as runtime:
        object.__setattr__(runtime.turns.options, "timeout_s", 0.3)
        turn = await collect(stateless_turn(runtime.turns, TurnRequest("Hi")))
    assert turn.error_code == "DeadlineExceeded"


async def test_an_empty_answer_is_a_warning_and_never_sent_back(
    azure: SharedAzure, runtime: Runtime
) -> None:
    with azure.model.script(Say(""), Say("Hello."), CallTool(code="1"), Say(""), Say("Yes.")) as s:
        conversation = Conversation(runtime)
        first = await conversation.ask("One?")
        await conversation.ask("Two?")
        third = await conversation.ask("Three?")
        await conversation.ask("Four?")
    assert first.finished.output == third.finished.output == ""
    assert [w.code for w in first.finished.warnings] == ["EmptyAnswer"]
    assert [w.code for w in third.finished.warnings] == ["EmptyAnswer"]
    assert roles(s.requests[1]) == ["system", "user"]
    assert s.requests[1].messages[1].content == "One?\n\nTwo?"
    # No model takes a question behind a tool's result, so that is never what it reads.
    last = s.requests[4]
    assert roles(last)[-4:] == ["assistant", "tool", "assistant", "user"]
    assert last.messages[-2].content == "(no answer)"


async def test_text_beside_a_call_is_what_the_model_reads_next_and_in_the_next_turn(
    azure: SharedAzure, runtime: Runtime
) -> None:
    with azure.model.script(CallTool(code="1", text="Let me see."), Say("One."), Say("Yes.")) as s:
        conversation = Conversation(runtime)
        first = await conversation.ask("How many?")
        await conversation.ask("Sure?")
    assert first.finished.output == "Let me see.\n\nOne."
    assert [message.content for message in s.requests[1].messages[1:3]] == [
        "How many?",
        "Let me see.",
    ]
    read = [message.content for message in s.requests[2].messages if message.role != "tool"]
    assert read[1:] == ["How many?", "Let me see.", "One.", "Sure?"]


async def test_the_last_round_is_told_in_the_last_tool_result(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    requests: list[ChatRequest] = []

    def insists(request: ChatRequest) -> Step:
        requests.append(request)
        return CallTool(code="1") if request.callable_tools else Say("I give up.")

    with azure.model.using(insists):
        async with open_runtime(tool_rounds=2) as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Loop.")))
    assert turn.finished.output == "I give up."
    assert [roles(request).count("system") for request in requests] == [1, 1, 1]
    told = ["Answer now" in result for result in tool_results(requests[2])]
    assert told == [False, True]
    assert not any("Answer now" in message.text for message in turn.finished.messages)


async def test_half_a_character_is_replaced_on_its_way_to_the_model(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    history = (Message("user", "a\ud83d"), Message("assistant", "b\ude00"))
    with azure.model.script(Say("Hi.")) as script:
        async with open_runtime() as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("c\ud83d", history)))
    assert turn.finished.output == "Hi."
    assert [m.content for m in script.requests[0].messages[1:]] == ["a\ufffd", "b\ufffd", "c\ufffd"]


async def test_a_link_to_the_sandbox_is_the_files_address_in_every_place(
    azure: SharedAzure, runtime: Runtime
) -> None:
    code = "open('/mnt/data/out.csv', 'w').write('a,b')"
    link = "[out](sandbox:/mnt/data/out.csv), [none](sandbox:/mnt/data/none.csv)"
    with azure.model.script(CallTool(code=code), Say(link), Say(link)) as script:
        conversation = Conversation(runtime)
        first = await conversation.ask("Write.")
        second = await conversation.ask("Where?")
    address = f"/api/conversations/{conversation.id}/files/out.csv"
    expected = f"[out]({address}), [none](none.csv)"
    assert first.finished.output == second.finished.output == expected
    assert first.texts == [expected]
    assert first.finished.messages[-1].text == expected
    assert script.requests[2].messages[-2].content == expected


async def test_a_stateless_turn_names_its_files(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    code = "open('/mnt/data/out.csv', 'w').write('a,b')"
    with azure.model.script(CallTool(code=code), Say("![](sandbox:/mnt/data/out.csv)")):
        async with open_runtime() as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Write.")))
    assert turn.finished.output == "![](out.csv)"


async def test_a_history_that_services_refuse_is_mended_on_its_way(
    open_runtime: OpenRuntime,
) -> None:
    """Conversations were stored before calls were mended; front ends send what they like."""
    history = (
        Message("assistant", ""),
        Message("user", "One?"),
        Message(
            "assistant",
            "",
            (ToolCall("", "python-execute_python", '{"code": '), ToolCall("x" * 50, "a.b", "")),
        ),
        Message("tool", "1", tool_call_id=""),
        Message("tool", "2", tool_call_id="x" * 50),
    )
    async with raw_server(response({"error": {"message": "No."}}, status=400)) as server:
        settings = {"azure_openai_endpoint": server.url}
        async with open_runtime(**settings) as runtime:
            await collect(stateless_turn(runtime.turns, TurnRequest("Two?", history)))
    said = server.bodies[0]["messages"]
    assert [m["role"] for m in said] == [
        "system",
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
        "user",
    ]
    calls = said[2]["tool_calls"]
    assert [c["function"]["name"] for c in calls] == ["execute_python", "a_b"]
    assert [c["function"]["arguments"] for c in calls] == ["{}", "{}"]
    assert [c["id"] for c in calls] == [m["tool_call_id"] for m in said[3:5]]
    assert all(1 <= len(c["id"]) <= 40 for c in calls)
