"""What is sent besides messages and tools, and where to."""

import pytest

from agent.model.parameters import ModelParameters
from agent.turns.turn import TurnRequest, stateless_turn
from tests.conftest import OpenRuntime
from tests.support.raw_server import raw_server, response
from tests.support.turns import collect

pytestmark = pytest.mark.asyncio(loop_scope="session")

NO = response({"error": {"message": "No."}}, status=400)
PARAMETERS = ("reasoning_effort", "temperature", "top_p", "max_completion_tokens", "max_tokens")


async def test_what_is_not_set_is_not_sent(open_runtime: OpenRuntime) -> None:
    async with raw_server(NO) as server:
        settings = {"azure_openai_endpoint": server.url, "azure_openai_chat_deployment_name": "a b"}
        async with open_runtime(**settings) as runtime:
            await collect(stateless_turn(runtime.turns, TurnRequest("Hi")))
    target, headers, body = server.requests[0]
    assert target == ("/openai/deployments/a%20b/chat/completions?api-version=2024-10-21")
    assert headers["authorization"].startswith("bearer ")
    assert [name for name in (*PARAMETERS, "seed", "stop", "n", "user") if name in body] == []


async def test_settings_and_the_request_say_what_is_sent(open_runtime: OpenRuntime) -> None:
    async with (
        raw_server(NO) as server,
        open_runtime(
            azure_openai_endpoint=server.url,
            azure_openai_reasoning_effort="none",
            azure_openai_temperature=0,
            azure_openai_max_completion_tokens=500,
        ) as runtime,
    ):
        await collect(stateless_turn(runtime.turns, TurnRequest("Hi")))
        own = ModelParameters(temperature=1.5, top_p=0.5, seed=7, stop=("END",))
        await collect(stateless_turn(runtime.turns, TurnRequest("Hi", parameters=own)))
    settings = {"reasoning_effort": "none", "temperature": 0, "max_completion_tokens": 500}
    first, second = server.bodies
    assert {name: first[name] for name in PARAMETERS if name in first} == settings
    assert settings.items() - {("temperature", 0)} <= {(name, second[name]) for name in settings}
    assert (second["temperature"], second["top_p"]) == (1.5, 0.5)
    assert (second["seed"], second["stop"]) == (7, ["END"])


async def test_version_v1_is_a_path_without_a_version(open_runtime: OpenRuntime) -> None:
    async with (
        raw_server(NO) as server,
        open_runtime(azure_openai_endpoint=server.url, azure_openai_api_version="v1") as runtime,
    ):
        await collect(stateless_turn(runtime.turns, TurnRequest("Hi")))
    target, _, body = server.requests[0]
    assert target == "/openai/v1/chat/completions"
    assert body["model"] == "gpt-5.4-mini"
