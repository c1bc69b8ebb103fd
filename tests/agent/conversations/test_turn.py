"""A turn of a conversation: its hold, its history and its span."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from opentelemetry import trace

from agent.conversations.owner import ANONYMOUS
from agent.conversations.turn import start_turn
from agent.errors import ConversationBusyError
from agent.events import TextDelta, TurnFinished
from agent.runtime import Runtime
from agent.turns import turn as turn_module
from agent.turns.turn import TurnRequest
from local.azure_openai import Say
from tests.conftest import OpenRuntime, SharedAzure

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


class CountingTracer(trace.NoOpTracer):
    """Counts the spans that are started, by name."""

    def __init__(self) -> None:
        self.started: Counter[str] = Counter()

    def start_span(
        self,
        name: str,
        context: Any = None,
        kind: trace.SpanKind = trace.SpanKind.INTERNAL,
        attributes: Any = None,
        links: Sequence[trace.Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        self.started[name] += 1
        return trace.INVALID_SPAN


async def test_a_turn_of_a_conversation_has_one_span(
    azure: SharedAzure, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer = CountingTracer()
    monkeypatch.setattr(turn_module, "tracer", tracer)
    services = await runtime.conversations()
    with azure.model.script(Say("One.")):
        events = [e async for e in await start_turn(services, ANONYMOUS, None, TurnRequest("Hi"))]
    assert isinstance(events[-1], TurnFinished)
    assert tracer.started == {"turn": 1}
