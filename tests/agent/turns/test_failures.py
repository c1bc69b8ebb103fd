"""What ends a turn without an answer, and under which code the caller learns of it."""

import socket
from dataclasses import replace

import pytest

from agent.events import TurnFailed
from agent.settings import Settings
from agent.turns.turn import TurnRequest, stateless_turn
from local.azure_openai import (
    AnswerFiltered,
    CallTool,
    Cut,
    Failed,
    Fault,
    PromptFiltered,
    RoleMissing,
    Say,
    Throttled,
)
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.turns import collect

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def nobody_listens() -> str:
    """An address on which a connection is refused."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Throttled(retry_after_s=1), "ModelThrottled"),
        (Failed(500), "ModelFailed"),
        (Failed(503), "ModelFailed"),
        (RoleMissing(), "ModelAccessDenied"),
        (PromptFiltered(), "ContentFiltered"),
        (Cut(after_chunks=2), "ModelAnswerCut"),
    ],
)
async def test_each_failure_of_the_model_has_its_code(
    azure: SharedAzure, open_runtime: OpenRuntime, fault: Fault, code: str
) -> None:
    azure.stack.openai.faults.inject(fault, times=None)
    try:
        async with open_runtime() as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Hi", stream=True)))
    finally:
        azure.stack.openai.faults.clear()
    assert turn.error_code == code


async def test_a_passing_failure_of_the_model_is_not_noticed(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    azure.stack.openai.faults.inject(Failed(500))
    with azure.model.script(Say("Hello.")):
        async with open_runtime() as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Hi", stream=True)))
    assert turn.finished.output == "Hello."


async def test_an_answer_that_the_filter_cut_says_so(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    azure.stack.openai.faults.inject(AnswerFiltered())
    with azure.model.script(Say("One two three four five six.")):
        async with open_runtime() as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Hi", stream=True)))
    assert turn.finished.finish_reason == "content_filter"


async def test_a_deployment_that_does_not_exist_is_named_by_its_setting(
    open_runtime: OpenRuntime,
) -> None:
    async with open_runtime(azure_openai_chat_deployment_name="nothing") as runtime:
        turn = await collect(stateless_turn(runtime.turns, TurnRequest("Hi", stream=True)))
    assert turn.error_code == "DeploymentNotFound"


async def test_a_model_that_is_down_is_unreachable(
    open_runtime: OpenRuntime, nobody_listens: str
) -> None:
    async with open_runtime(azure_openai_endpoint=nobody_listens) as runtime:
        turn = await collect(stateless_turn(runtime.turns, TurnRequest("Hi", stream=True)))
    assert turn.error_code == "ModelUnreachable"


async def test_a_pool_that_is_down_ends_the_turn_for_the_model_cannot_repair_it(
    azure: SharedAzure, open_runtime: OpenRuntime, nobody_listens: str
) -> None:
    with azure.model.script(CallTool(code="1")):
        async with open_runtime(
            pool_management_endpoint=nobody_listens, turn_timeout_seconds=5
        ) as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Hi", stream=True)))
    assert turn.error_code == "PoolUnreachable"


async def test_an_address_that_is_no_pool_is_told_apart_from_one_that_is_down(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    endpoint = f"{azure.stack.app_settings['POOL_MANAGEMENT_ENDPOINT']}-of-somebody-else"
    with azure.model.script(CallTool(code="1")):
        async with open_runtime(pool_management_endpoint=endpoint) as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Hi", stream=True)))
    assert turn.error_code == "PoolNotFound"


async def test_without_an_identity_no_token_is_to_be_had(
    open_runtime: OpenRuntime, nobody_listens: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "wrong")
    async with open_runtime() as runtime:
        turn = await collect(stateless_turn(runtime.turns, TurnRequest("Hi", stream=True)))
    assert turn.error_code == "TokenUnavailable"


@pytest.mark.parametrize("log_content", [False, True])
async def test_an_unforeseen_error_ends_the_turn_without_its_text(
    open_runtime: OpenRuntime, caplog: pytest.LogCaptureFixture, *, log_content: bool
) -> None:
    async with open_runtime(log_content=log_content) as runtime:
        broken = replace(runtime.turns, model=None)  # type: ignore[arg-type]  # a turn without a model cannot be: its AttributeError is what nobody foresaw
        turn = await collect(stateless_turn(broken, TurnRequest("Hi", stream=True)))
    assert turn.error_code == "InternalError"
    assert isinstance(turn.events[-1], TurnFailed)
    assert "NoneType" not in turn.events[-1].error.detail
    assert "turn failed: AttributeError, raised at\n" in caplog.text
    assert ("NoneType" in caplog.text) is log_content


async def test_every_setting_of_the_local_azure_is_one_that_the_agent_reads(
    azure: SharedAzure,
) -> None:
    read_by_azure_identity = {"IDENTITY_ENDPOINT", "IDENTITY_HEADER"}
    names = {name.upper() for name in Settings.model_fields}
    assert azure.stack.app_settings.keys() - names == read_by_azure_identity
