"""A turn of a conversation: its hold and its history."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.conversations.owner import ANONYMOUS, pool_identifier
from agent.conversations.turn import ConversationServices, start_turn
from agent.errors import ConversationBusyError
from agent.events import ExecutionFinished, ExecutionStarted, TextDelta, TurnFinished
from agent.runtime import Runtime
from agent.turns import turn
from agent.turns.turn import TurnRequest
from local.azure_openai import CallTool, Say
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.turns import tool_results
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def runtime(open_runtime: OpenRuntime, tmp_path: Path) -> AsyncIterator[Runtime]:
    async with open_runtime(conversations_url=tmp_path.as_uri()) as opened:
        yield opened


async def test_the_conversation_is_free_once_its_last_event_is_seen(
    azure: SharedAzure, runtime: Runtime
) -> None:
    services = await runtime.conversations()
    request = TurnRequest("Hi", stream=True)
    with azure.model.script(Say("One.")):
        first = await start_turn(services, ANONYMOUS, None, request)
        async for event in first:
            if isinstance(event, TextDelta):
                with pytest.raises(ConversationBusyError):
                    await start_turn(services, ANONYMOUS, first.conversation_id, request)
            if isinstance(event, TurnFinished):
                second = await start_turn(services, ANONYMOUS, first.conversation_id, request)
                await second.aclose()


async def test_a_turn_that_nobody_reads_leaves_the_conversation_free(runtime: Runtime) -> None:
    services = await runtime.conversations()
    turn = await start_turn(services, ANONYMOUS, None, TurnRequest("Hi"))
    await turn.aclose()
    again = await start_turn(services, ANONYMOUS, turn.conversation_id, TurnRequest("Hi"))
    await again.aclose()


async def begin_and_stop(
    azure: SharedAzure, services: ConversationServices, conversation_id: str, code: str
) -> None:
    """A turn that its caller ends while its code runs."""
    sessions = services.turns.sessions
    assert sessions is not None
    key = await services.store.identifier_key()
    identifier = pool_identifier(key, ANONYMOUS, conversation_id)
    code = f"open('/mnt/data/begun.txt', 'w').close()\n{code}"

    async def has_begun() -> bool:
        files = await sessions.list_files(identifier, deadline=loop.time() + 30)
        return "begun.txt" in [file.name for file in files]

    loop = asyncio.get_running_loop()
    with azure.model.script(CallTool(code=code)):
        stopped = await start_turn(services, ANONYMOUS, conversation_id, TurnRequest("Hi"))
        async for event in stopped:
            if isinstance(event, ExecutionStarted):
                break
        await until(has_begun)
        await stopped.aclose()


async def test_a_caller_who_stops_endless_code_and_asks_again_waits_less_than_two_seconds(
    azure: SharedAzure, runtime: Runtime
) -> None:
    services = await runtime.conversations()
    remember = CallTool(code="x = 1; open('/mnt/data/kept.txt', 'w').write('kept')")
    loop = asyncio.get_running_loop()
    began = loop.time()
    with azure.model.script(remember, Say("One.")):
        first = await start_turn(services, ANONYMOUS, None, TurnRequest("Hi"))
        assert isinstance([event async for event in first][-1], TurnFinished)
    undisturbed_s = loop.time() - began
    conversation_id = first.conversation_id
    await begin_and_stop(azure, services, conversation_id, "while True: pass")
    began = loop.time()
    ask = CallTool(code="print(open('/mnt/data/kept.txt').read(), 'x' in globals())")
    with azure.model.script(ask, Say("Two.")) as script:
        third = await start_turn(services, ANONYMOUS, conversation_id, TurnRequest("Hi"))
        events = [event async for event in third]
    # On a busy machine any turn takes long.
    assert loop.time() - began < max(2, 4 * undisturbed_s)
    (run,) = [event.execution for event in events if isinstance(event, ExecutionFinished)]
    assert run.stdout == "kept False\n"
    assert "earlier variables and imports are gone" in tool_results(script.requests[1])[-1]


async def test_code_that_ends_soon_after_its_caller_keeps_its_session(
    azure: SharedAzure, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ending and being asked take a busy machine long.
    monkeypatch.setattr(turn, "IDLE_TIMEOUT_S", 20)
    services = await runtime.conversations()
    with azure.model.script(CallTool(code="x = 1"), Say("One.")):
        first = await start_turn(services, ANONYMOUS, None, TurnRequest("Hi"))
        assert isinstance([event async for event in first][-1], TurnFinished)
    await begin_and_stop(
        azure, services, first.conversation_id, "import time; time.sleep(0.2); y = 1"
    )
    with azure.model.script(CallTool(code="print(x, y)"), Say("Two.")):
        third = await start_turn(services, ANONYMOUS, first.conversation_id, TurnRequest("Hi"))
        events = [event async for event in third]
    (run,) = [event.execution for event in events if isinstance(event, ExecutionFinished)]
    assert run.stdout == "1 1\n"


async def test_a_session_that_is_full_does_not_end_every_turn(
    azure: SharedAzure, runtime: Runtime
) -> None:
    services = await runtime.conversations()
    fill = (
        "import os\nbig = os.open('/mnt/data/big', os.O_CREAT | os.O_RDWR)\n"
        "os.posix_fallocate(big, 0, 255 << 20)"
    )
    with azure.model.script(CallTool(code=fill), Say("One.")):
        first = await start_turn(services, ANONYMOUS, None, TurnRequest("Hi"))
        assert isinstance([event async for event in first][-1], TurnFinished)

    async def content() -> AsyncIterator[bytes]:
        yield bytes(2_000_000)

    await services.store.put_file(ANONYMOUS, first.conversation_id, "late.bin", content())
    with azure.model.script(CallTool(code="1"), Say("Two.")) as script:
        second = await start_turn(services, ANONYMOUS, first.conversation_id, TurnRequest("Hi"))
        events = [event async for event in second]
    assert isinstance(events[-1], TurnFinished)
    (warning,) = events[-1].warnings
    assert (warning.code, "late.bin" in warning.message) == ("FileNotRestored", True)
    assert "late.bin is not in the session" in tool_results(script.requests[1])[-1]


async def test_a_session_that_is_replaced_in_a_turn_gets_the_files_of_the_conversation(
    azure: SharedAzure, runtime: Runtime
) -> None:
    services = await runtime.conversations()
    steps = (
        CallTool(code="import os; os.makedirs('d.e'); open('d.e/a.txt', 'w').write('a')"),
        CallTool(code="open('b.txt', 'w').write('b')"),
        CallTool(code="print(open('/mnt/data/d.e/a.txt').read(), os.getcwd())"),
        CallTool(code="import os; print(sorted(os.listdir('/mnt/data')))"),
        Say("Done."),
    )
    with azure.model.script(*steps) as script:
        events = []
        async for event in await start_turn(services, ANONYMOUS, None, TurnRequest("Hi")):
            events.append(event)
            if isinstance(event, ExecutionFinished) and len(script.requests) == 1:
                azure.stack.pool.faults.lose_sessions()
    runs = [event.execution for event in events if isinstance(event, ExecutionFinished)]
    assert "NameError" in runs[2].stderr  # the variables are gone, and the model was told
    assert runs[3].stdout == "['b.txt', 'd.e']\n"
    told = tool_results(script.requests[2])[-1]
    assert "The session was replaced" in told
    assert "Its files were put back" in told


async def test_a_file_that_does_not_outlive_its_session_is_named_with_what_to_do(
    azure: SharedAzure, runtime: Runtime
) -> None:
    services = await runtime.conversations()
    code = "open('a.bin', 'wb').truncate({})"
    steps = CallTool(code=code.format(100)), CallTool(code=code.format(20_000_000)), Say("Done.")
    with azure.model.script(*steps) as script:
        turn = await start_turn(services, ANONYMOUS, None, TurnRequest("Hi"))
        events = [event async for event in turn]
    assert isinstance(events[-1], TurnFinished)
    (warning,) = events[-1].warnings
    assert warning.code == "FileNotKept"
    assert "a.bin can be downloaded while its session lives" in warning.message
    assert "a.bin can be downloaded" in tool_results(script.requests[2])[-1]
    # The smaller one that was kept must not come back in its place.
    assert await services.store.list_files(ANONYMOUS, turn.conversation_id) == []


async def test_a_file_that_the_same_turn_deletes_is_not_kept(
    azure: SharedAzure, runtime: Runtime
) -> None:
    services = await runtime.conversations()
    steps = (
        CallTool(code="open('a.txt', 'w').write('a')"),
        CallTool(code="import os; os.rename('a.txt', 'b.txt')"),
        Say("Done."),
    )
    with azure.model.script(*steps):
        turn = await start_turn(services, ANONYMOUS, None, TurnRequest("Hi"))
        assert isinstance([event async for event in turn][-1], TurnFinished)
    kept = await services.store.list_files(ANONYMOUS, turn.conversation_id)
    assert [file.name for file in kept] == ["b.txt"]
