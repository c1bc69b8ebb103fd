"""A token that its service refuses is renewed once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from azure.core.credentials import AccessTokenInfo

from agent.credentials import MEMORY_S, Tokens
from agent.errors import PoolAccessError
from agent.events import TurnFailed, TurnFinished
from agent.runtime import Runtime
from agent.turns.turn import TurnRequest, stateless_turn
from local.azure_openai import CallTool, Say
from local.stack import LocalStack
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.turns import collect

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Credential:
    """Has one token."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.closed = False

    async def get_token_info(self, *_: str, **__: Any) -> AccessTokenInfo:
        return AccessTokenInfo(self.token, 2**33)

    async def close(self) -> None:
        self.closed = True


class Opened(list[Credential]):
    """Credentials with the tokens 1, 2, 3 …, as they were opened."""

    def __call__(self) -> Any:
        self.append(Credential(str(len(self) + 1)))
        return self[-1]


@pytest.fixture
def opened() -> Opened:
    return Opened()


@pytest.fixture
def tokens(opened: Opened) -> Tokens:
    first: Any = Credential("0")
    return Tokens(first, "a scope", opened)


class ShortLived(Credential):
    """Whose tokens are about to end."""

    asked = 0

    async def get_token_info(self, *_: str, **__: Any) -> AccessTokenInfo:
        self.asked += 1
        return AccessTokenInfo(str(self.asked), int(datetime.now(UTC).timestamp()) + 200)


async def test_a_token_is_handed_out_again_for_less_long_than_it_is_renewed_early(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MEMORY_S * 2 < 300, "the library renews it so long before its end"
    credential: Any = ShortLived("")
    tokens = Tokens(credential, "a scope", opened)
    assert [await tokens() for _ in range(3)] == ["1", "1", "1"]
    monkeypatch.setattr("agent.credentials.MEMORY_S", 0)
    tokens = Tokens(credential, "a scope", opened)
    assert [await tokens() for _ in range(3)] == ["2", "3", "4"]


async def test_a_refused_token_is_replaced(tokens: Tokens, opened: Opened) -> None:
    assert await tokens() == "0"
    assert await tokens.renew("0")
    assert await tokens() == "1"
    await tokens.aclose()
    assert [credential.closed for credential in opened] == [True]


async def test_many_calls_that_were_refused_at_once_renew_it_once(
    tokens: Tokens, opened: Opened
) -> None:
    assert all(await asyncio.gather(*(tokens.renew("0") for _ in range(10))))
    assert len(opened) == 1


async def test_a_service_that_refuses_every_token_has_the_next_one_after_a_while(
    tokens: Tokens, opened: Opened
) -> None:
    assert await tokens.renew("0")
    assert not await tokens.renew("1")
    assert len(opened) == 1


@pytest_asyncio.fixture(loop_scope="session")
async def with_old_tokens(
    azure: SharedAzure, open_runtime: OpenRuntime, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Runtime]:
    """A runtime whose tokens are of an Azure that has started again since, with another key."""
    async with LocalStack(openai=False, pool=False) as before:
        for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
            monkeypatch.setenv(name, before.app_settings[name])
        async with open_runtime() as runtime:
            yield runtime


async def test_without_another_token_the_refusal_stands(
    azure: SharedAzure, with_old_tokens: Runtime
) -> None:
    services = with_old_tokens.turns
    with azure.model.script():
        refused = await collect(stateless_turn(services, TurnRequest("Hi")))
    assert isinstance(refused.events[-1], TurnFailed), "the tokens are not old"
    assert services.sessions is not None
    with pytest.raises(PoolAccessError):
        await services.sessions.is_alive("x" * 32, deadline=asyncio.get_running_loop().time() + 5)


async def test_an_azure_that_starts_again_costs_no_turn(
    azure: SharedAzure, with_old_tokens: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.setenv(name, azure.stack.app_settings[name])
    with azure.model.script(CallTool(code="1+1"), Say("Two.")):
        turn = await collect(stateless_turn(with_old_tokens.turns, TurnRequest("Hi")))
    assert isinstance(turn.events[-1], TurnFinished)
    assert turn.executions[0].result == "2"
