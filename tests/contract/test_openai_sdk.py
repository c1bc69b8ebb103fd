"""The official openai library, with tokens from the official azure-identity, unchanged."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import openai
import pytest
from azure.core.pipeline.transport import AsyncioRequestsTransport
from azure.identity.aio import DefaultAzureCredential, get_bearer_token_provider
from openai.types.chat import ChatCompletionChunk, ChatCompletionFunctionToolParam

from local.azure_openai import (
    AnswerFiltered,
    AzureOpenAI,
    CallTool,
    CallTools,
    Cut,
    Failed,
    PromptFiltered,
    RoleMissing,
    Say,
    ScriptedModel,
    Slow,
    Throttled,
)
from local.managed_identity import ManagedIdentity
from local.serving import serve
from tests.support.identities import shared_identity

AUDIENCE = "https://cognitiveservices.azure.com"
API_VERSION = "2024-10-21"
DEPLOYMENT = "gpt-4o"
TOOL: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "execute_python",
        "parameters": {
            "type": "object",
            "properties": {"code": {"type": "string"}},
            "required": ["code"],
        },
    },
}


class Account:
    """A running Azure OpenAI with a scripted model, and the official client for it."""

    def __init__(
        self, service: AzureOpenAI, client: openai.AsyncAzureOpenAI, script: ScriptedModel
    ) -> None:
        self.service = service
        self.client = client
        self.script = script

    async def ask(self, text: str = "Hello") -> openai.types.chat.ChatCompletion:
        return await self.client.chat.completions.create(
            model=DEPLOYMENT, messages=[{"role": "user", "content": text}]
        )

    async def stream(self, text: str = "Hello") -> list[ChatCompletionChunk]:
        stream = await self.client.chat.completions.create(
            model=DEPLOYMENT,
            messages=[{"role": "user", "content": text}],
            tools=[TOOL],
            stream=True,
            stream_options={"include_usage": True},
        )
        return [chunk async for chunk in stream]


Start = Callable[..., Awaitable[Account]]


@pytest.fixture
async def identity(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ManagedIdentity]:
    identity = shared_identity()
    async with serve(identity.app) as url:
        monkeypatch.setenv("IDENTITY_ENDPOINT", url + identity.path)
        monkeypatch.setenv("IDENTITY_HEADER", identity.identity_header)
        yield identity


@pytest.fixture
async def start(identity: ManagedIdentity) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def start(*steps: Say | CallTool | CallTools, max_retries: int = 0) -> Account:
            script = ScriptedModel(steps)
            service = AzureOpenAI(identity.verifier(AUDIENCE), deployment=DEPLOYMENT, model=script)
            url = await stack.enter_async_context(serve(service.app))
            credential = await stack.enter_async_context(
                DefaultAzureCredential(transport=AsyncioRequestsTransport())
            )
            client = openai.AsyncAzureOpenAI(
                azure_endpoint=url,
                azure_ad_token_provider=get_bearer_token_provider(
                    credential, f"{AUDIENCE}/.default"
                ),
                api_version=API_VERSION,
                max_retries=max_retries,
            )
            await stack.enter_async_context(client)
            return Account(service, client, script)

        yield start


async def test_answer_has_text_model_and_usage(start: Start) -> None:
    account = await start(Say("Good evening."))
    completion = await account.ask()
    choice = completion.choices[0]
    assert choice.message.content == "Good evening."
    assert choice.message.role == "assistant"
    assert choice.finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 4
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + 4
    account.script.assert_done()


async def test_streamed_text_comes_in_pieces_and_is_whole(start: Start) -> None:
    text = "It is half past three,\n\n  so they say: \N{SNOWMAN} and  more."
    account = await start(Say(text))
    chunks = await account.stream()
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == text
    assert len(deltas) > 5
    assert deltas[0].role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"


async def test_stream_begins_with_the_filters_word_and_ends_with_usage(start: Start) -> None:
    account = await start(Say("Yes."))
    chunks = await account.stream()
    assert chunks[0].choices == []
    assert chunks[0].id == ""
    assert chunks[0].model_extra is not None
    assert chunks[0].model_extra["prompt_filter_results"][0]["prompt_index"] == 0
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 1
    assert {chunk.usage for chunk in chunks[:-1]} == {None}


async def test_streamed_tool_calls_come_in_fragments_that_join_to_json(start: Start) -> None:
    account = await start(
        CallTools([CallTool(code="print('one')"), CallTool(code="print('two')")], text="Wait.")
    )
    chunks = await account.stream()
    calls: dict[int, list[str]] = {}
    names: dict[int, str | None] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            for part in choice.delta.tool_calls or []:
                assert part.function is not None
                calls.setdefault(part.index, []).append(part.function.arguments or "")
                if part.id:
                    names[part.index] = part.function.name
    assert {index: json.loads("".join(parts)) for index, parts in calls.items()} == {
        0: {"code": "print('one')"},
        1: {"code": "print('two')"},
    }
    assert names == {0: "execute_python", 1: "execute_python"}
    assert len(calls[0]) > 2
    finish_reasons = [choice.finish_reason for chunk in chunks for choice in chunk.choices]
    assert finish_reasons[-1] == "tool_calls"


async def test_tool_call_and_its_result_make_a_conversation(start: Start) -> None:
    account = await start(CallTool(code="2 + 2"), Say("It is 4."))
    client = account.client
    question: openai.types.chat.ChatCompletionUserMessageParam = {
        "role": "user",
        "content": "What is 2 + 2?",
    }
    asked = await client.chat.completions.create(
        model=DEPLOYMENT, messages=[question], tools=[TOOL], tool_choice="auto"
    )
    message = asked.choices[0].message
    assert message.tool_calls is not None
    call = message.tool_calls[0]
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"code": "2 + 2"}
    answered = await client.chat.completions.create(
        model=DEPLOYMENT,
        tools=[TOOL],
        messages=[
            question,
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": call.id,
                        "type": "function",
                        "function": {
                            "name": call.function.name,
                            "arguments": call.function.arguments,
                        },
                    }
                ],
            },
            {"role": "tool", "tool_call_id": call.id, "content": '{"result": "4"}'},
        ],
    )
    assert answered.choices[0].message.content == "It is 4."
    account.script.assert_done()


async def test_v1_client_needs_no_api_version(start: Start, identity: ManagedIdentity) -> None:
    account = await start(Say("Hello."))
    base_url = str(account.client.base_url).split("/openai")[0] + "/openai/v1"
    async with openai.AsyncOpenAI(
        base_url=base_url, api_key=identity.mint(AUDIENCE), max_retries=0
    ) as client:
        completion = await client.chat.completions.create(
            model=DEPLOYMENT, messages=[{"role": "user", "content": "Hi"}]
        )
        assert completion.choices[0].message.content == "Hello."
        with pytest.raises(openai.NotFoundError) as caught:
            await client.chat.completions.create(
                model="other", messages=[{"role": "user", "content": "Hi"}]
            )
        assert caught.value.code == "DeploymentNotFound"
        assert [model.id async for model in client.models.list()] == ["local-stand-in"]


async def test_unknown_deployment_is_not_found(start: Start) -> None:
    account = await start()
    with pytest.raises(openai.NotFoundError) as caught:
        await account.client.chat.completions.create(
            model="gpt-9", messages=[{"role": "user", "content": "Hi"}]
        )
    assert caught.value.code == "DeploymentNotFound"


async def test_unknown_api_version_is_not_found(start: Start) -> None:
    account = await start()
    client = account.client.with_options(api_version="2020-01-01")
    with pytest.raises(openai.NotFoundError, match="Resource not found"):
        await client.chat.completions.create(
            model=DEPLOYMENT, messages=[{"role": "user", "content": "Hi"}]
        )


async def test_token_for_another_audience_is_an_authentication_error(
    start: Start, identity: ManagedIdentity
) -> None:
    account = await start()
    token = identity.mint("https://dynamicsessions.io")
    client = account.client.with_options(azure_ad_token_provider=lambda: token)
    with pytest.raises(openai.AuthenticationError) as caught:
        await client.chat.completions.create(
            model=DEPLOYMENT, messages=[{"role": "user", "content": "Hi"}]
        )
    assert "audience is incorrect" in caught.value.message
    assert caught.value.response.headers["x-local-azure-reason"].endswith(AUDIENCE)


async def test_missing_role_is_an_authentication_error_that_names_the_action(
    start: Start,
) -> None:
    account = await start()
    account.service.faults.inject(RoleMissing())
    with pytest.raises(openai.AuthenticationError) as caught:
        await account.ask()
    assert caught.value.code == "PermissionDenied"
    assert "lacks the required data action" in caught.value.message


async def test_throttling_is_retried_after_the_time_it_names(start: Start) -> None:
    account = await start(Say("Now."), max_retries=2)
    account.service.faults.inject(Throttled(retry_after_s=0.05), times=2)
    completion = await account.ask()
    assert completion.choices[0].message.content == "Now."


async def test_throttling_reaches_the_caller_with_retry_after(start: Start) -> None:
    account = await start()
    account.service.faults.inject(Throttled(retry_after_s=7))
    with pytest.raises(openai.RateLimitError) as caught:
        await account.ask()
    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.code == "RateLimitReached"


@pytest.mark.parametrize("status", [500, 503])
async def test_server_error_is_an_internal_server_error(start: Start, status: int) -> None:
    account = await start()
    account.service.faults.inject(Failed(status))
    with pytest.raises(openai.InternalServerError) as caught:
        await account.ask()
    assert caught.value.status_code == status


async def test_filtered_prompt_is_a_bad_request_with_the_filters_result(start: Start) -> None:
    account = await start()
    account.service.faults.inject(PromptFiltered())
    with pytest.raises(openai.BadRequestError) as caught:
        await account.ask()
    error = caught.value
    assert (error.code, error.param) == ("content_filter", "prompt")
    assert isinstance(error.body, dict)
    assert error.body["innererror"]["code"] == "ResponsibleAIPolicyViolation"
    assert error.body["innererror"]["content_filter_result"]["jailbreak"]["filtered"] is True


async def test_filtered_answer_ends_early_with_its_finish_reason(start: Start) -> None:
    account = await start(Say("1234567890"))
    account.service.faults.inject(AnswerFiltered())
    choice = (await account.ask()).choices[0]
    assert choice.message.content == "12345"
    assert choice.finish_reason == "content_filter"


async def test_cut_connection_breaks_the_stream(start: Start) -> None:
    account = await start(Say("A long answer that does not arrive."))
    account.service.faults.inject(Cut(after_chunks=4))
    with pytest.raises(openai.APIConnectionError):
        await account.stream()


async def test_closed_stream_is_seen_as_a_hang_up_within_a_second(start: Start) -> None:
    account = await start(Say("word " * 1000))
    account.service.faults.inject(Slow(between_chunks_s=0.01))
    stream = await account.client.chat.completions.create(
        model=DEPLOYMENT, messages=[{"role": "user", "content": "Hi"}], stream=True
    )
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            break
    await stream.close()
    async with asyncio.timeout(1):
        await account.service.hang_ups.wait()


async def test_bad_body_is_a_bad_request_that_names_the_field(start: Start) -> None:
    account = await start()
    with pytest.raises(openai.BadRequestError) as caught:
        await account.client.chat.completions.create(
            model=DEPLOYMENT, messages=[{"role": "user", "content": "Hi"}], temperature=9
        )
    assert caught.value.param == "temperature"
    assert caught.value.type == "invalid_request_error"


async def test_request_after_the_scripts_end_fails_at_once_and_in_the_end(start: Start) -> None:
    account = await start(Say("Only once."), max_retries=3)
    await account.ask()
    with pytest.raises(openai.InternalServerError, match="after the script's last step"):
        await account.ask("Again?")
    assert len(account.script.requests) == 2
    with pytest.raises(AssertionError, match="after the script's last step"):
        account.script.assert_done()
