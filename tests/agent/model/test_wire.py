"""What model servers really send: every kind, in bytes, for callers of JSON and of events."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from agent.runtime import Runtime
from agent.settings import Settings
from agent.telemetry import metrics
from agent.turns.files import InlineFiles
from agent.turns.session_files import TurnSession
from agent.turns.turn import TurnRequest, run_turn, with_terminal_event
from local.azure_openai import conversation
from local.azure_openai.requests import read_chat_request
from tests.agent.model.wire_cases import CASES, USAGE, Case, message, whole
from tests.conftest import SharedAzure
from tests.support.raw_server import RawServer, raw_server
from tests.support.telemetry import attributes_of, recorded
from tests.support.turns import CollectedTurn, collect

pytestmark = pytest.mark.asyncio(loop_scope="session")

DONE = whole(message("Done."))


@dataclass(frozen=True)
class Stack:
    """One runtime for all cases, and the server that its model is."""

    runtime: Runtime
    model: RawServer


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(azure: SharedAzure) -> AsyncIterator[Stack]:
    known = {name.lower(): value for name, value in azure.stack.app_settings.items()}
    with pytest.MonkeyPatch.context() as environment:
        for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
            environment.setenv(name, azure.stack.app_settings[name])
        async with raw_server() as model:
            settings = Settings.model_validate(known | {"azure_openai_endpoint": model.url})
            async with Runtime(settings) as runtime:
                yield Stack(runtime, model)


async def turn_of(stack: Stack, *wire: bytes, stream: bool) -> CollectedTurn:
    stack.model.answers[:] = wire
    stack.model.requests.clear()
    request = TurnRequest("How much is 6 times 7?", stream=stream)
    sessions = stack.runtime.turns.sessions
    assert sessions
    # One session for all: a new one would be most of the time that a case takes.
    session = TurnSession(sessions, "wire-cases", InlineFiles(sessions, "wire-cases"))
    return await collect(with_terminal_event(run_turn(stack.runtime.turns, request, session)))


@pytest.mark.parametrize("stream", [False, True], ids=["JSON", "events"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_each_kind_of_answer_has_its_outcome(stack: Stack, case: Case, stream: bool) -> None:
    turn = await turn_of(stack, case.wire, DONE, stream=stream)
    if case.error:
        assert turn.error_code == case.error
        assert turn.executions == []
        return
    finished = turn.finished
    assert tuple(execution.code for execution in turn.executions) == case.codes
    assert finished.output == case.output
    assert finished.finish_reason == case.finish_reason
    assert tuple(warning.code for warning in finished.warnings) == case.warnings
    if case.tokens:
        assert (finished.usage.prompt_tokens, finished.usage.completion_tokens) == case.tokens
    calls = bool(case.codes or case.told)
    assert len(stack.model.bodies) == 1 + calls
    if calls:
        for body in stack.model.bodies:
            # What real servers refuse, and the stand-in like them.
            conversation.check(read_chat_request(json.dumps(body).encode()))
        results = [m["content"] for m in stack.model.bodies[1]["messages"] if m["role"] == "tool"]
        assert len(results) == max(len(case.codes), 1)
        assert all((case.told in result) is True for result in results if case.told)
    # What is kept can be stored and sent.
    for kept in finished.messages:
        assert kept.text or kept.tool_calls
        json.dumps(
            [kept.text, *(c.arguments for c in kept.tool_calls)], ensure_ascii=False
        ).encode()


@pytest.mark.parametrize("stream", [False, True], ids=["JSON", "events"])
@pytest.mark.parametrize(
    ("details", "cached", "reasoned"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 8}}, [8], []),
        ({"completion_tokens_details": {"reasoning_tokens": 3}}, [], [3]),
        ({"prompt_tokens_details": {"cached_tokens": 0}}, [], []),
        ({"prompt_tokens_details": None, "completion_tokens_details": [3]}, [], []),
        ({"prompt_tokens_details": {"cached_tokens": "8"}}, [], []),
        ({"prompt_tokens_details": {"cached_tokens": -8}}, [], []),
        ({"prompt_tokens_details": {"cached_tokens": 10**30}}, [], []),
    ],
)
async def test_tokens_from_the_cache_and_of_reasoning_are_measured(
    stack: Stack,
    details: dict[str, object],
    cached: list[float],
    reasoned: list[float],
    stream: bool,
) -> None:
    with recorded() as taken:
        await turn_of(stack, whole(message("Hi"), usage=USAGE | details), stream=stream)
    (span,) = [span for span in taken.spans if span.name.startswith("chat ")]
    said = attributes_of(span)
    assert taken.values(metrics.CACHED_TOKENS) == cached
    assert [v for k, v in said.items() if k == "gen_ai.usage.cache_read.input_tokens"] == cached
    assert taken.values(metrics.REASONING_TOKENS) == reasoned
    assert [v for k, v in said.items() if k == "gen_ai.usage.reasoning.output_tokens"] == reasoned


async def test_what_a_span_says_of_an_answer_can_be_sent(stack: Stack) -> None:
    odd = {"id": "a\ud800", "model": "b\ud800"}
    with recorded() as taken:
        await turn_of(stack, whole(message("Hi"), "c\ud800", **odd), stream=False)
    (span,) = [span for span in taken.spans if span.name.startswith("chat ")]
    said = attributes_of(span)
    names = ("gen_ai.response.id", "gen_ai.response.model", "gen_ai.response.finish_reasons")
    assert [said[name] for name in names] == ["a\ufffd", "b\ufffd", ("c\ufffd",)]


async def test_what_a_span_keeps_of_an_answer_is_short(stack: Stack) -> None:
    long = "x" * 100_000
    with recorded() as taken:
        await turn_of(stack, whole(message("Hi"), long, id=long, model=long), stream=False)
    (span,) = [span for span in taken.spans if span.name.startswith("chat ")]
    assert len(span.to_json()) < 5_000


async def test_the_events_say_what_the_answer_says(stack: Stack) -> None:
    case = CASES["content: text beside a call, streamed"]
    turn = await turn_of(stack, case.wire, DONE, stream=True)
    assert turn.texts == ["Let me see.", "Done."]
    assert turn.finished.usage.completion_tokens == USAGE["completion_tokens"]


async def test_an_id_that_each_round_repeats_names_one_call(stack: Stack) -> None:
    wire = CASES["name: the tool's own name, whole"].wire
    turn = await turn_of(stack, wire, wire, DONE, stream=False)
    assert len(turn.executions) == 2
    said = stack.model.bodies[-1]["messages"]
    ids = [call["id"] for message in said for call in message.get("tool_calls") or ()]
    assert len(set(ids)) == 2
    assert [m["tool_call_id"] for m in said if m["role"] == "tool"] == ids
