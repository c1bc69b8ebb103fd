"""The local Azure as a whole."""

import json
import socket
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local.azure_openai import Say, ScriptError
from local.serving import PortInUseError, refuse_ports_in_use
from local.stack import DEFAULT_PORTS, LocalStack, Ports

PROJECT = Path(__file__).parents[2]
MODEL_RESOURCE = "https://cognitiveservices.azure.com"
POOL_RESOURCE = "https://dynamicsessions.io"


async def token(client: httpx2.AsyncClient, settings: dict[str, str], resource: str) -> str:
    """Get a token as an app does."""
    answer = await client.get(
        settings["IDENTITY_ENDPOINT"],
        params={"api-version": "2019-08-01", "resource": resource},
        headers={"x-identity-header": settings["IDENTITY_HEADER"]},
    )
    return str(answer.json()["access_token"])


async def ask(client: httpx2.AsyncClient, settings: dict[str, str], bearer: str) -> httpx2.Response:
    deployment = settings["AZURE_OPENAI_CHAT_DEPLOYMENT_NAME"]
    return await client.post(
        f"{settings['AZURE_OPENAI_ENDPOINT']}/openai/deployments/{deployment}/chat/completions",
        params={"api-version": settings["AZURE_OPENAI_API_VERSION"]},
        headers={"authorization": f"Bearer {bearer}"},
        json={"messages": [{"role": "user", "content": "hello"}]},
    )


async def execute(
    client: httpx2.AsyncClient, settings: dict[str, str], bearer: str, code: str
) -> httpx2.Response:
    return await client.post(
        f"{settings['POOL_MANAGEMENT_ENDPOINT']}/executions",
        params={"api-version": "2025-10-02-preview", "identifier": "a-session-of-this-test"},
        headers={"authorization": f"Bearer {bearer}"},
        json={"codeInputType": "Inline", "executionType": "Synchronous", "code": code},
    )


async def test_a_token_of_the_identity_opens_the_model() -> None:
    async with (
        LocalStack(script=[Say("hello to you")], pool=False) as azure,
        httpx2.AsyncClient() as client,
    ):
        settings = azure.app_settings
        assert (await ask(client, settings, "no token")).status_code == 401
        for_another = await token(client, settings, POOL_RESOURCE)
        assert (await ask(client, settings, for_another)).status_code == 401
        answer = await ask(client, settings, await token(client, settings, MODEL_RESOURCE))
        assert answer.json()["choices"][0]["message"]["content"] == "hello to you"


async def test_a_token_of_the_identity_opens_the_session_pool() -> None:
    async with LocalStack(openai=False) as azure, httpx2.AsyncClient() as client:
        settings = azure.app_settings
        for_another = await token(client, settings, MODEL_RESOURCE)
        assert (await execute(client, settings, for_another, "6 * 7")).status_code == 401
        bearer = await token(client, settings, POOL_RESOURCE)
        answer = await execute(client, settings, bearer, "6 * 7")
        assert answer.status_code == 200, answer.text
        assert answer.json()["result"]["executionResult"] == 42


async def test_a_script_that_is_not_followed_to_its_end_fails() -> None:
    with pytest.raises(ScriptError, match="unused step"):
        async with LocalStack(script=[Say("never asked for")], pool=False):
            pass


async def test_stacks_on_free_ports_live_side_by_side() -> None:
    async with LocalStack(pool=False) as one, LocalStack(pool=False) as other:
        assert (
            one.app_settings["AZURE_OPENAI_ENDPOINT"] != other.app_settings["AZURE_OPENAI_ENDPOINT"]
        )
        assert one.app_settings["IDENTITY_HEADER"] != other.app_settings["IDENTITY_HEADER"]


def test_the_example_of_local_settings_names_the_default_ports() -> None:
    example: dict[str, Any] = json.loads((PROJECT / "local.settings.json.example").read_text())
    settings = LocalStack(ports=DEFAULT_PORTS).app_settings
    assert settings
    assert {name: example["Values"].get(name) for name in settings} == settings


async def test_settings_known_before_the_start_stay_the_same() -> None:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    stack = LocalStack(ports=Ports(*ports), pool=False)
    before = stack.app_settings
    assert before["AZURE_OPENAI_ENDPOINT"] == f"http://127.0.0.1:{ports[0]}"
    async with stack:
        assert stack.app_settings == before


async def test_a_port_in_use_leaves_nothing_running() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            free = probe.getsockname()[1]
        ports = Ports(azure_openai=other.getsockname()[1], managed_identity=free)
        with pytest.raises(PortInUseError):
            async with LocalStack(ports=ports, pool=False):
                pass
        refuse_ports_in_use(free)
