"""The official openai library as a client of the agent."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import openai
import pytest
import pytest_asyncio
from openai.types.chat import ChatCompletionMessageParam

from local.azure_openai import CallTool, Cut, PromptFiltered, Say, Slow, Throttled
from local.defaults import DEPLOYMENT
from tests.conftest import SharedAzure
from tests.support import PROJECT
from tests.support.functions_host import HostProcess, host_process

pytestmark = pytest.mark.asyncio(loop_scope="session")

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hi"}]
PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nplt.show()"


def client_of(host: HostProcess, headers: dict[str, str] | None = None) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=f"{host.url}/api/v1", api_key="unused", max_retries=0, default_headers=headers
    )


@pytest_asyncio.fixture(loop_scope="session")
async def client(host: HostProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    async with client_of(host) as opened:
        yield opened


async def test_an_answer_is_worked_out_by_running_code(
    azure: SharedAzure, client: openai.AsyncOpenAI
) -> None:
    with azure.model.script(CallTool(code="6 * 7"), Say("It is 42.")):
        completion = await client.chat.completions.create(model=DEPLOYMENT, messages=HI)
    assert completion.choices[0].message.content == "It is 42."
    assert completion.choices[0].finish_reason == "stop"
    assert completion.model == DEPLOYMENT
    assert completion.usage is not None
    assert completion.usage.total_tokens > 0


async def test_the_answer_streams(azure: SharedAzure, client: openai.AsyncOpenAI) -> None:
    with azure.model.script(CallTool(code="6 * 7", text="Let me see."), Say("It is 42.")):
        stream = await client.chat.completions.create(
            model=DEPLOYMENT, messages=HI, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    *pieces, last = chunks
    texts = [piece.choices[0].delta.content or "" for piece in pieces]
    assert "".join(texts) == "Let me see.\n\nIt is 42."
    assert len([text for text in texts if text]) > 4
    assert pieces[-1].choices[0].finish_reason == "stop"
    assert last.usage is not None
    assert last.usage.total_tokens > 0


async def test_the_librarys_own_accumulation_agrees(
    azure: SharedAzure, client: openai.AsyncOpenAI
) -> None:
    with azure.model.script(Say("It is 42.")):
        async with client.chat.completions.stream(model=DEPLOYMENT, messages=HI) as stream:
            completion = await stream.get_final_completion()
    assert completion.choices[0].message.content == "It is 42."


async def test_the_conversation_is_what_the_caller_sends(
    azure: SharedAzure, client: openai.AsyncOpenAI
) -> None:
    messages: list[ChatCompletionMessageParam] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Plot."},
    ]
    with azure.model.script(CallTool(code=PLOT), Say("Here."), Say("A line.")) as script:
        first = await client.chat.completions.create(model=DEPLOYMENT, messages=messages)
        answer = first.choices[0].message
        assert answer.content is not None
        assert answer.content.startswith("![image-1.png](data:image/png;base64,iVBOR")
        request_messages: list[ChatCompletionMessageParam] = [
            *messages,
            {"role": "assistant", "content": answer.content},
            {"role": "user", "content": "What did you plot?"},
        ]
        await client.chat.completions.create(model=DEPLOYMENT, messages=request_messages)
    system, *history = script.requests[2].messages
    assert str(system.content).endswith("Be brief.")
    assert [(m.role, m.content) for m in history] == [
        ("user", "Plot."),
        ("assistant", "[image-1.png, shown to the user]\n\nHere."),
        ("user", "What did you plot?"),
    ]


async def test_the_models_are_listed(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in await client.models.list()] == [DEPLOYMENT]


async def test_another_model_is_not_found(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        await client.chat.completions.create(model="gpt-0", messages=HI)
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


async def test_a_tool_of_the_caller_is_refused(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(
            model=DEPLOYMENT,
            messages=HI,
            tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}],
        )
    assert refused.value.param == "tools"
    assert refused.value.type == "invalid_request_error"


async def test_a_throttled_model_is_a_rate_limit_error(
    azure: SharedAzure, client: openai.AsyncOpenAI
) -> None:
    azure.stack.openai.faults.inject(Throttled(retry_after_s=1), times=3)
    with pytest.raises(openai.RateLimitError) as refused:
        await client.chat.completions.create(model=DEPLOYMENT, messages=HI)
    assert refused.value.code == "rate_limit_exceeded"
    assert int(refused.value.response.headers["retry-after"]) >= 1


async def test_an_error_has_the_operators_id_of_the_request(
    client: openai.AsyncOpenAI, api: httpx2.AsyncClient
) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    with pytest.raises(openai.NotFoundError) as refused:
        await client.chat.completions.create(model="gpt-0", messages=HI, extra_headers=headers)
    assert refused.value.request_id == trace_id
    problem = await api.post("/chat", json={}, headers=headers)
    assert problem.json()["operation_id"] == problem.headers["x-request-id"] == trace_id


async def test_a_refused_prompt_carries_openais_code(
    azure: SharedAzure, client: openai.AsyncOpenAI
) -> None:
    azure.stack.openai.faults.inject(PromptFiltered())
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(model=DEPLOYMENT, messages=HI)
    assert refused.value.code == "content_filter"


async def test_a_stream_that_breaks_raises_in_the_client(
    azure: SharedAzure, client: openai.AsyncOpenAI
) -> None:
    azure.stack.openai.faults.inject(Cut(after_chunks=2))
    with azure.model.script(Say("one two three four five")):
        stream = await client.chat.completions.create(model=DEPLOYMENT, messages=HI, stream=True)
        with pytest.raises(openai.APIError, match="no connection to the model"):
            _ = [chunk async for chunk in stream]


async def test_a_client_that_stops_reading_ends_the_models_stream(
    azure: SharedAzure, client: openai.AsyncOpenAI
) -> None:
    azure.stack.openai.faults.inject(Slow(between_chunks_s=0.1))
    before = azure.stack.openai.hang_ups.count
    with azure.model.script(Say("one two three four five " * 100)):
        stream = await client.chat.completions.create(model=DEPLOYMENT, messages=HI, stream=True)
        async with stream:
            async for chunk in stream:
                if chunk.choices[0].delta.content:
                    break
        async with asyncio.timeout(1):
            await azure.stack.openai.hang_ups.wait(before + 1)


async def test_wrong_methods_are_refused_in_openais_envelope(api: httpx2.AsyncClient) -> None:
    reply = await api.get("/v1/chat/completions")
    assert reply.status_code == 405
    assert reply.headers["allow"] == "POST"
    assert reply.json()["error"]["code"] == "MethodNotAllowed"


async def test_the_function_key_travels_in_a_header_of_its_own(azure: SharedAzure) -> None:
    settings = azure.stack.app_settings
    with host_process(PROJECT, "--key", "secret", environment=settings) as host:
        host.wait_until_ready()
        async with client_of(host) as without:
            with pytest.raises(openai.AuthenticationError):
                await without.models.list()
        async with client_of(host, {"x-functions-key": "secret"}) as with_key:
            assert [model.id async for model in await with_key.models.list()] == [DEPLOYMENT]


async def test_a_header_names_a_conversation_that_the_app_keeps(
    azure: SharedAzure, client: openai.AsyncOpenAI, api: httpx2.AsyncClient
) -> None:
    create = client.chat.completions.with_raw_response.create
    with azure.model.script(CallTool(code="x = 20"), Say("Noted.")):
        started = await create(
            model=DEPLOYMENT, messages=HI, extra_headers={"x-conversation-id": "new"}
        )
    conversation_id = started.headers["x-conversation-id"]
    with azure.model.script(CallTool(code="x + 22"), Say("42.")) as script:
        await create(
            model=DEPLOYMENT, messages=HI, extra_headers={"x-conversation-id": conversation_id}
        )
    roles = [message.role for message in script.requests[0].messages]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]
    shown = (await api.get(f"/conversations/{conversation_id}")).json()
    assert [turn["executions"][0]["result"] for turn in shown["turns"]] == [None, "42"]


async def test_a_conversation_that_is_not_there_is_an_error_of_openai(
    client: openai.AsyncOpenAI,
) -> None:
    with pytest.raises(openai.NotFoundError, match="no conversation"):
        await client.chat.completions.create(
            model=DEPLOYMENT, messages=HI, extra_headers={"x-conversation-id": "0" * 32}
        )


async def test_what_tunes_the_model_reaches_the_model(
    azure: SharedAzure, client: openai.AsyncOpenAI
) -> None:
    with azure.model.script(Say("One two three.")) as model:
        await client.chat.completions.create(
            model=DEPLOYMENT,
            messages=HI,
            temperature=0.5,
            top_p=0.9,
            max_tokens=500,
            seed=7,
            stop=["END", "STOP"],
        )
    (request,) = model.requests
    assert (request.temperature, request.top_p, request.seed) == (0.5, 0.9, 7)
    assert (request.max_completion_tokens, request.stop) == (500, ["END", "STOP"])


async def test_the_model_can_be_asked_for_by_its_name(client: openai.AsyncOpenAI) -> None:
    assert (await client.models.retrieve(DEPLOYMENT)).id == DEPLOYMENT
    with pytest.raises(openai.NotFoundError, match=f"The model is `{DEPLOYMENT}`") as missing:
        await client.models.retrieve("x" * 1000)
    assert missing.value.code == "model_not_found"
