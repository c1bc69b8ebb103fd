"""What readiness asks the model: as little as can be, and what a turn would ask."""

import asyncio

import pytest

from agent.errors import AgentError, DeploymentNotFoundError, ModelFailedError
from agent.runtime import Runtime
from agent.turns import probe
from local.azure_openai import Say
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.raw_server import raw_server, response

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def check(runtime: Runtime) -> None:
    await runtime.model_probe.check(deadline=asyncio.get_running_loop().time() + 10)


def refusal(message: str, param: str | None = None, status: int = 400) -> bytes:
    error = {"message": message, "code": None, "type": "invalid_request_error", "param": param}
    return response({"error": error}, status=status)


async def test_one_token_is_asked_for_with_the_tool_declared(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    async with open_runtime(azure_openai_reasoning_effort=None) as runtime:
        with azure.model.script(Say("Yes.")) as model:
            await check(runtime)
    (request,) = model.requests
    assert request.max_completion_tokens == 1
    assert [tool.function.name for tool in request.tools or ()] == ["execute_python"]
    assert sum(len(str(message.content)) for message in request.messages) < 50


async def test_without_a_session_pool_no_tool_is_declared(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    async with open_runtime(pool_management_endpoint=None) as runtime:
        with azure.model.script(Say("Yes.")) as model:
            await check(runtime)
    assert not model.requests[0].tools


async def test_the_settings_of_a_turn_are_sent(open_runtime: OpenRuntime) -> None:
    settings = {
        "azure_openai_reasoning_effort": "none",
        "azure_openai_temperature": 0,
        "azure_openai_max_completion_tokens": 500,
    }
    async with (
        raw_server(refusal("No.")) as server,
        open_runtime(azure_openai_endpoint=server.url, **settings) as runtime,
    ):
        with pytest.raises(ModelFailedError):
            await check(runtime)
    body = server.bodies[0]
    assert (body["reasoning_effort"], body["temperature"]) == ("none", 0)
    assert body["max_completion_tokens"] == 1


async def test_a_result_is_remembered_for_a_minute(
    azure: SharedAzure, open_runtime: OpenRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_runtime() as runtime:
        with azure.model.script(Say("Yes.")):
            await asyncio.gather(*(check(runtime) for _ in range(5)))
        monkeypatch.setattr(probe, "REMEMBERED_S", 0)
        with azure.model.script(Say("Yes.")):
            await check(runtime)


async def test_so_is_an_error(open_runtime: OpenRuntime) -> None:
    async with (
        raw_server(refusal("There is no such deployment.", status=404)) as server,
        open_runtime(azure_openai_endpoint=server.url) as runtime,
    ):
        for _ in range(3):
            with pytest.raises(DeploymentNotFoundError):
                await check(runtime)
    assert len(server.requests) == 1


async def test_a_model_that_takes_tools_without_reasoning_alone_is_not_ready(
    open_runtime: OpenRuntime,
) -> None:
    message = (
        "Function tools with reasoning_effort are not supported for this model in chat "
        "completions. Set reasoning_effort to 'none'."
    )
    async with (
        raw_server(refusal(message, "reasoning_effort")) as server,
        open_runtime(azure_openai_endpoint=server.url) as runtime,
    ):
        with pytest.raises(AgentError, match="Set AZURE_OPENAI_REASONING_EFFORT to none"):
            await check(runtime)


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (
            "Could not finish the message because max_tokens or model output limit was reached. "
            "Please try again with higher max_tokens.",
            None,
        ),
        ("Unsupported parameter: 'max_completion_tokens'.", "max_completion_tokens"),
        ("Invalid 'max_completion_tokens': integer below minimum value.", "max_completion_tokens"),
    ],
)
async def test_a_model_that_refuses_only_so_few_tokens_is_ready(
    open_runtime: OpenRuntime, message: str, param: str | None
) -> None:
    async with (
        raw_server(refusal(message, param)) as server,
        open_runtime(azure_openai_endpoint=server.url) as runtime,
    ):
        await check(runtime)
