"""A session that is allocated while the model thinks: it saves time and loses nothing."""

import re
from pathlib import Path
from typing import Literal

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from agent.conversations.owner import ANONYMOUS
from agent.conversations.turn import start_turn
from agent.runtime import Runtime
from agent.turns.turn import TurnRequest, stateless_turn
from local.azure_openai import CallTool, PromptFiltered, Say, Slow, Step
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.telemetry import Recorded, attributes_of, recorded
from tests.support.turns import CollectedTurn, collect, tool_results

pytestmark = pytest.mark.asyncio(loop_scope="session")

WarmUp = Literal["never", "conversations", "always"]

ALLOCATION_S = 0.3
STATELESS = "none"
# How often it ran in its session.
COUNT = "n = globals().get('n', 0) + 1; print(n)"
ALLOCATES = "GET files"
LOOKS = EXECUTES = "POST executions"
GIVES_BACK = "DELETE session"


def request() -> TurnRequest:
    return TurnRequest("Hi", stream=True)


async def ask(runtime: Runtime, conversation_id: str | None) -> tuple[CollectedTurn, str]:
    """A turn of a conversation, of a new one where none is named."""
    services = await runtime.conversations()
    started = await start_turn(services, ANONYMOUS, conversation_id, request())
    return await collect(started), started.conversation_id


def order(*spans: ReadableSpan) -> list[int | None]:
    """When they began and ended."""
    return [when for span in spans for when in (span.start_time, span.end_time)]


def statuses(taken: Recorded, name: str) -> list[int]:
    return [attributes_of(span)["http.response.status_code"] for span in taken.named(name)]


async def test_allocation_runs_beside_the_first_call_of_the_model(
    faults: SharedAzure, open_runtime: OpenRuntime
) -> None:
    allocation_s = 1
    faults.stack.pool.faults.slow_allocation(allocation_s)
    faults.stack.openai.faults.inject(Slow(before_answer_s=allocation_s * 3 / 4))
    with recorded() as taken, faults.model.script(CallTool(code="6 * 7"), Say("42")):
        async with open_runtime(session_warm_up="always") as runtime:
            turn = await collect(stateless_turn(runtime.turns, request()))
    chat = f"chat {faults.stack.openai.deployment}"
    assert [line for line in taken.tree() if line.strip() != "get token"] == [
        "invoke_agent code-interpreter",
        f"  {chat}",
        f"  {ALLOCATES}",
        "  execute_tool execute_python",
        f"    {EXECUTES}",
        f"  {chat}",
        f"  {GIVES_BACK}",
    ]
    (allocation,), (execution,) = taken.named(ALLOCATES), taken.named(EXECUTES)
    model = min(taken.named(chat), key=lambda span: span.start_time or 0)
    # Begun before the model had answered, ended before the code was sent.
    began, allocated, sent, _ = order(allocation, execution)
    assert began is not None
    assert model.end_time is not None
    assert began < model.end_time
    assert allocated is not None
    assert sent is not None
    assert allocated <= sent
    (tool,) = taken.named("execute_tool execute_python")
    assert attributes_of(tool)["code_interpreter.pool.allocation_ms"] < allocation_s * 1e3 / 2
    assert [execution.result for execution in turn.executions] == ["42"]
    assert statuses(taken, GIVES_BACK) == [204]


async def test_the_setting_says_whose_session_is_warmed(
    azure: SharedAzure, open_runtime: OpenRuntime, tmp_path: Path
) -> None:
    async with open_runtime(conversations_url=tmp_path.as_uri()) as runtime:
        with azure.model.script(CallTool(code="open('a', 'w')"), Say("One.")):
            _, with_a_session = await ask(runtime, None)
        with azure.model.script(CallTool(code="1"), Say("."), CallTool(code="1"), Say(".")):
            _, with_one_that_is_there = await ask(runtime, None)
            _, with_one_that_may_have_ended = await ask(runtime, None)
    history = tmp_path / ANONYMOUS.folder / with_one_that_may_have_ended / "turns.jsonl"
    history.write_text(re.sub(r'"asked_at":"\d+', '"asked_at":"2020', history.read_text()))

    async def warmed(warm_up: WarmUp) -> list[list[str]]:
        """The pool's calls of turns without code: stateless, of a new conversation, of those."""
        with recorded() as taken:
            async with open_runtime(
                session_warm_up=warm_up, conversations_url=tmp_path.as_uri()
            ) as runtime:
                for conversation in (
                    STATELESS,
                    None,
                    with_a_session,
                    with_one_that_is_there,
                    with_one_that_may_have_ended,
                ):
                    azure.stack.openai.faults.inject(Slow(before_answer_s=0.15))
                    with azure.model.script(Say("Hello.")):
                        if conversation == STATELESS:
                            await collect(stateless_turn(runtime.turns, request()))
                        else:
                            await ask(runtime, conversation)
        # All calls have ended: also those that a turn's end left in the background.
        traces: dict[int, list[str]] = {}
        for span in sorted(taken.spans, key=lambda span: span.start_time or 0):
            assert span.context
            names = traces.setdefault(span.context.trace_id, [])
            if span.name in (ALLOCATES, LOOKS):
                names.append(span.name)
        return list(traces.values())

    assert await warmed("never") == [[], [], [], [], []]
    assert await warmed("conversations") == [[], [], [LOOKS], [], [ALLOCATES]]
    assert await warmed("always") == [[ALLOCATES], [ALLOCATES], [LOOKS], [ALLOCATES], [ALLOCATES]]


@pytest.mark.parametrize("allocation_s", [0, ALLOCATION_S])
@pytest.mark.parametrize("fails", [False, True])
async def test_a_warmed_session_that_no_code_used_is_given_back_once_it_is_there(
    faults: SharedAzure, open_runtime: OpenRuntime, allocation_s: float, *, fails: bool
) -> None:
    faults.stack.pool.faults.slow_allocation(allocation_s)
    if fails:
        faults.stack.openai.faults.inject(PromptFiltered())
    script: list[Step] = [] if fails else [Say("Hello.")]
    with recorded() as taken, faults.model.script(*script):
        async with open_runtime(session_warm_up="always") as runtime:
            turn = await collect(stateless_turn(runtime.turns, request()))
    if fails:
        assert turn.error_code == "ContentFiltered"
    else:
        assert turn.finished.warnings == ()
    assert statuses(taken, ALLOCATES) == [200]
    assert statuses(taken, GIVES_BACK) == [204]


async def test_a_turn_that_its_caller_leaves_at_once_gives_its_session_back(
    faults: SharedAzure, open_runtime: OpenRuntime
) -> None:
    faults.stack.pool.faults.slow_allocation(ALLOCATION_S)
    with recorded() as taken, faults.model.script(CallTool(code="1", text="Let me see.")):
        async with open_runtime(session_warm_up="always") as runtime:
            events = stateless_turn(runtime.turns, request())
            await anext(events)
            await events.aclose()
    assert statuses(taken, GIVES_BACK) == [204]


async def test_what_fails_ahead_is_told_by_the_execution_if_it_fails_too(
    faults: SharedAzure, open_runtime: OpenRuntime
) -> None:
    async with open_runtime(session_warm_up="always") as runtime:
        faults.stack.pool.faults.fail(1, status=400)
        with faults.model.script(CallTool(code=COUNT), Say("One.")):
            turn = await collect(stateless_turn(runtime.turns, request()))
        assert [execution.stdout for execution in turn.executions] == ["1\n"]
        assert turn.finished.warnings == ()

        faults.stack.pool.faults.revoke_role()
        with faults.model.script(Say("Hello.")):
            turn = await collect(stateless_turn(runtime.turns, request()))
        assert turn.finished.warnings == ()
        with faults.model.script(CallTool(code=COUNT)):
            turn = await collect(stateless_turn(runtime.turns, request()))
        assert turn.error_code == "PoolAccessDenied"


async def test_a_lost_session_is_told_of_by_the_turn_that_runs_code_again(
    faults: SharedAzure, open_runtime: OpenRuntime, tmp_path: Path
) -> None:
    async with open_runtime(conversations_url=tmp_path.as_uri()) as runtime:
        write = "open('/mnt/data/kept.txt', 'w').write('kept')"
        with faults.model.script(CallTool(code=write), Say("Done.")):
            _, conversation_id = await ask(runtime, None)
        faults.stack.pool.faults.lose_sessions()
        faults.stack.openai.faults.inject(Slow(before_answer_s=3))
        with recorded() as taken, faults.model.script(Say("Hello.")):
            turn, _ = await ask(runtime, conversation_id)
        assert turn.finished.warnings == ()
        # The conversation keeps what was warmed.
        assert statuses(taken, LOOKS) == [200]
        assert taken.named(GIVES_BACK) == []

        read = f"print(open('/mnt/data/kept.txt').read()); {COUNT}"
        with faults.model.script(CallTool(code=read), Say("Kept.")) as script:
            turn, _ = await ask(runtime, conversation_id)
        assert turn.executions[0].stdout.splitlines()[0] == "kept"
        assert [warning.code for warning in turn.finished.warnings] == ["SessionLost"]
        assert "earlier variables and imports are gone" in tool_results(script.requests[1])[-1]
