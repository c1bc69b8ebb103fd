"""The clients of one worker: when they can be used."""

import pytest

from agent.runtime import RuntimeState
from tests.conftest import OpenRuntime

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_clients_can_be_used_while_the_runtime_is_open(open_runtime: OpenRuntime) -> None:
    runtime = open_runtime(conversations_url="file:.local/unused")
    with pytest.raises(RuntimeError, match="<Runtime unopened> has no clients"):
        runtime.turns  # noqa: B018 - reading it is the test
    async with runtime:
        assert runtime.state is RuntimeState.OPENED
        assert runtime.turns.sessions is not None
    with pytest.raises(RuntimeError, match="<Runtime closed> has no clients"):
        runtime.turns  # noqa: B018 - reading it is the test
    with pytest.raises(RuntimeError, match="<Runtime closed> has no clients"):
        await runtime.conversations()


async def test_a_runtime_is_opened_once(open_runtime: OpenRuntime) -> None:
    runtime = open_runtime()
    async with runtime:
        with pytest.raises(RuntimeError, match="<Runtime opened> cannot be opened again"):
            await runtime.__aenter__()
