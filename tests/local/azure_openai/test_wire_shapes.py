"""The bytes of an answer, as Azure sends them."""

from typing import Any

from local.azure_openai import AzureOpenAI, CallTool, CallTools, ChatRequest, Say, ScriptedModel
from local.managed_identity import TokenVerifier
from tests.local.azure_openai.conftest import CHAT, HELLO, TOOL, Connect, events


async def test_answer_in_one_piece_has_azures_fields(
    verifier: TokenVerifier, call: Connect
) -> None:
    service = AzureOpenAI(verifier, model=ScriptedModel([Say("Hi.")]), model_name="gpt-x")
    async with call(service) as client:
        response = await client.post(CHAT, json={"messages": HELLO})
    body = response.json()
    assert response.headers["content-type"] == "application/json"
    assert body["object"] == "chat.completion"
    assert body["id"].startswith("chatcmpl-")
    assert body["model"] == "gpt-x"
    assert body["prompt_filter_results"][0]["content_filter_results"]["jailbreak"] == {
        "detected": False,
        "filtered": False,
    }
    [choice] = body["choices"]
    assert choice["content_filter_results"]["hate"] == {"filtered": False, "severity": "safe"}
    assert choice["message"] == {
        "role": "assistant",
        "content": "Hi.",
        "refusal": None,
        "annotations": [],
    }
    assert body["usage"]["total_tokens"] == (
        body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]
    )


async def test_tool_calls_come_with_null_content(verifier: TokenVerifier, call: Connect) -> None:
    service = AzureOpenAI(verifier, model=ScriptedModel([CallTool(code="1")]))
    async with call(service) as client:
        body = (await client.post(CHAT, json={"messages": HELLO, "tools": [TOOL]})).json()
    [choice] = body["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    [tool_call] = choice["message"]["tool_calls"]
    assert tool_call["function"] == {"name": "execute_python", "arguments": '{"code": "1"}'}
    assert tool_call["id"].startswith("call_")


async def test_stream_keeps_azures_order_of_chunks(verifier: TokenVerifier, call: Connect) -> None:
    model = ScriptedModel([CallTool(code="print(1)", text="Let me see.")])
    async with call(AzureOpenAI(verifier, model=model)) as client:
        response = await client.post(
            CHAT,
            json={
                "messages": HELLO,
                "tools": [TOOL],
                "stream": True,
                "stream_options": {"include_usage": True},
            },
        )
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    first, role, *middle, finish, usage = events(response.text)
    assert (first["id"], first["object"], first["choices"]) == ("", "", [])
    assert "prompt_filter_results" in first
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    kinds = [next(iter(chunk["choices"][0]["delta"])) for chunk in middle]
    assert kinds == sorted(kinds)  # all of "content" before all of "tool_calls"
    opening = middle[kinds.index("tool_calls")]["choices"][0]["delta"]["tool_calls"][0]
    assert opening["function"] == {"name": "execute_python", "arguments": ""}
    assert finish["choices"][0]["delta"] == {}
    assert finish["choices"][0]["finish_reason"] == "tool_calls"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] > 0
    assert {chunk["id"] for chunk in [role, *middle, finish, usage]} == {usage["id"]}


async def test_usage_is_streamed_only_when_asked_for(
    verifier: TokenVerifier, call: Connect
) -> None:
    service = AzureOpenAI(verifier, model=ScriptedModel([Say("Hi.")]))
    async with call(service) as client:
        response = await client.post(CHAT, json={"messages": HELLO, "stream": True})
    assert {"usage" in chunk for chunk in events(response.text)} == {False}


async def test_answer_names_the_request_and_what_is_left_of_the_minute(
    verifier: TokenVerifier, call: Connect
) -> None:
    service = AzureOpenAI(verifier, model=ScriptedModel([Say("1"), Say("2")]))
    async with call(service) as client:
        headers = [(await client.post(CHAT, json={"messages": HELLO})).headers for _ in range(2)]
    assert headers[0]["apim-request-id"] != headers[1]["apim-request-id"]
    assert headers[0]["x-ms-region"] == "local"
    left = [int(each["x-ratelimit-remaining-requests"]) for each in headers]
    assert left[0] - left[1] == 1
    tokens = [int(each["x-ratelimit-remaining-tokens"]) for each in headers]
    assert tokens[0] > tokens[1]


async def test_usage_grows_with_tools_and_with_what_was_said(
    verifier: TokenVerifier, call: Connect
) -> None:
    async def count(client: Any, body: dict[str, Any]) -> int:
        usage = (await client.post(CHAT, json=body)).json()["usage"]
        return int(usage["prompt_tokens"])

    service = AzureOpenAI(verifier, model=lambda request: Say("ok"))
    async with call(service) as client:
        bare = await count(client, {"messages": HELLO})
        longer = await count(client, {"messages": [*HELLO, *HELLO]})
        with_tools = await count(client, {"messages": HELLO, "tools": [TOOL]})
    assert bare == 3 + 3 + 2  # priming, one message, "Hello"
    assert longer == bare + 5
    assert with_tools > bare + 10


async def test_answer_stops_at_the_token_limit(verifier: TokenVerifier, call: Connect) -> None:
    service = AzureOpenAI(verifier, model=lambda request: Say("12345678rest"))
    async with call(service) as client:
        for name in ("max_tokens", "max_completion_tokens"):
            body = (await client.post(CHAT, json={"messages": HELLO, name: 2})).json()
            assert body["choices"][0]["message"]["content"] == "12345678"
            assert body["choices"][0]["finish_reason"] == "length"
            assert body["usage"]["completion_tokens"] == 2


async def test_tool_arguments_stop_at_the_token_limit_too(
    verifier: TokenVerifier, call: Connect
) -> None:
    service = AzureOpenAI(verifier, model=lambda request: CallTool(code="x" * 100))
    async with call(service) as client:
        response = await client.post(
            CHAT, json={"messages": HELLO, "tools": [TOOL], "max_tokens": 5}
        )
    choice = response.json()["choices"][0]
    assert choice["finish_reason"] == "length"
    assert len(choice["message"]["tool_calls"][0]["function"]["arguments"]) == 20


async def test_answer_ends_before_a_stop_sequence(verifier: TokenVerifier, call: Connect) -> None:
    service = AzureOpenAI(verifier, model=lambda request: Say("one two three"))
    async with call(service) as client:
        response = await client.post(CHAT, json={"messages": HELLO, "stop": ["three", " two"]})
    assert response.json()["choices"][0]["message"]["content"] == "one"
    assert response.json()["choices"][0]["finish_reason"] == "stop"


async def test_malformed_arguments_go_out_word_for_word(
    verifier: TokenVerifier, call: Connect
) -> None:
    service = AzureOpenAI(
        verifier, model=lambda request: CallTool(name="execute_python", arguments='{"code": ')
    )
    async with call(service) as client:
        body = (await client.post(CHAT, json={"messages": HELLO, "tools": [TOOL]})).json()
    tool_call = body["choices"][0]["message"]["tool_calls"][0]
    assert tool_call["function"]["arguments"] == '{"code": '


async def test_naming_the_tool_to_call_ends_with_stop_as_on_azure(
    verifier: TokenVerifier, call: Connect
) -> None:
    choice = {"type": "function", "function": {"name": "execute_python"}}
    service = AzureOpenAI(verifier, model=lambda request: CallTool(code="1"))
    async with call(service) as client:
        body = (
            await client.post(
                CHAT, json={"messages": HELLO, "tools": [TOOL], "tool_choice": choice}
            )
        ).json()
    assert body["choices"][0]["finish_reason"] == "stop"
    assert len(body["choices"][0]["message"]["tool_calls"]) == 1


async def test_model_may_not_call_several_tools_when_that_is_forbidden(
    verifier: TokenVerifier, call: Connect
) -> None:
    def model(request: ChatRequest) -> CallTools:
        return CallTools([CallTool(code="1"), CallTool(code="2")])

    async with call(AzureOpenAI(verifier, model=model)) as client:
        body = {"messages": HELLO, "tools": [TOOL]}
        allowed = await client.post(CHAT, json=body)
        refused = await client.post(CHAT, json={**body, "parallel_tool_calls": False})
    assert len(allowed.json()["choices"][0]["message"]["tool_calls"]) == 2
    assert refused.status_code == 400
    assert "forbids parallel tool calls" in refused.json()["error"]["message"]


async def test_tool_that_runs_code_is_not_called_when_tools_are_off(
    verifier: TokenVerifier, call: Connect
) -> None:
    service = AzureOpenAI(verifier, model=lambda request: CallTool(code="1"))
    async with call(service) as client:
        response = await client.post(
            CHAT, json={"messages": HELLO, "tools": [TOOL], "tool_choice": "none"}
        )
    assert response.status_code == 400
    assert "no tool with a string parameter 'code'" in response.json()["error"]["message"]
