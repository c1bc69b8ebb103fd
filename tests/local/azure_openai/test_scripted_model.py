import pytest

from local.azure_openai import (
    AzureOpenAI,
    CallTool,
    ChatRequest,
    Say,
    ScriptedModel,
    ScriptError,
)
from local.managed_identity import TokenVerifier
from tests.local.azure_openai.conftest import CHAT, HELLO, Connect


async def test_script_is_followed_step_by_step_and_remembers_the_requests(
    verifier: TokenVerifier, call: Connect
) -> None:
    with ScriptedModel([Say("one"), Say("two")]) as script:
        async with call(AzureOpenAI(verifier, model=script)) as client:
            answers = [
                (await client.post(CHAT, json={"messages": HELLO, "user": user})).json()
                for user in ("a", "b")
            ]
    assert [answer["choices"][0]["message"]["content"] for answer in answers] == ["one", "two"]
    assert [request.user for request in script.requests] == ["a", "b"]


def test_unused_step_fails_the_script() -> None:
    with (
        pytest.raises(ScriptError, match=r"unused step: Say\(text='never'"),
        ScriptedModel([Say("never")]),
    ):
        pass


def test_error_inside_the_block_is_not_hidden_by_the_script() -> None:
    with pytest.raises(KeyError), ScriptedModel([Say("never")]):
        raise KeyError


async def test_unexpected_request_is_a_500_and_fails_the_script(
    verifier: TokenVerifier, call: Connect
) -> None:
    script = ScriptedModel([])
    async with call(AzureOpenAI(verifier, model=script)) as client:
        response = await client.post(CHAT, json={"messages": HELLO})
    assert response.status_code == 500
    assert response.headers["x-should-retry"] == "false"
    assert response.json()["error"]["code"] == "ScriptError"
    with pytest.raises(ScriptError, match="after the script's last step"):
        script.assert_done()


async def test_request_that_a_step_does_not_expect_fails_the_script(
    verifier: TokenVerifier, call: Connect
) -> None:
    def offers_tools(request: ChatRequest) -> None:
        assert request.tools is not None, "the request offers no tools"

    script = ScriptedModel([Say("hm", expect=offers_tools)])
    async with call(AzureOpenAI(verifier, model=script)) as client:
        assert (await client.post(CHAT, json={"messages": HELLO})).status_code == 500
    with pytest.raises(ScriptError, match="the request offers no tools"):
        script.assert_done()


async def test_step_that_the_request_does_not_allow_fails_the_script(
    verifier: TokenVerifier, call: Connect
) -> None:
    script = ScriptedModel([CallTool(code="1")])
    async with call(AzureOpenAI(verifier, model=script)) as client:
        response = await client.post(CHAT, json={"messages": HELLO})
    assert response.status_code == 400
    assert "no tool with a string parameter 'code'" in response.json()["error"]["message"]
