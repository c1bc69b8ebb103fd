"""What a service says when it does not answer: its words, without secrets, and what mends it."""

import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from agent.errors import AgentError
from agent.events import TurnFailed
from agent.model.refusals import Refusal, retry_after_s
from agent.turns.turn import TurnRequest, stateless_turn
from tests.conftest import OpenRuntime
from tests.support.raw_server import raw_server, response
from tests.support.turns import collect

pytestmark = pytest.mark.asyncio(loop_scope="session")


def error(message: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "x", "param": param, "code": code}}


# Status, body → code of our error, what its detail has, what it has not.
REFUSALS = {
    "temperature": (
        (400, error("'temperature' does not support 0.2", "unsupported_value", "temperature")),
        "ModelFailed",
        ["unsupported_value: 'temperature' does not support 0.2", "AZURE_OPENAI_TEMPERATURE"],
        ["REASONING"],
    ),
    "reasoning effort": (
        (400, error("Unsupported value: 'minimal'", "unsupported_value", "reasoning_effort")),
        "ModelFailed",
        ["Unsupported value: 'minimal'", "AZURE_OPENAI_REASONING_EFFORT"],
        [],
    ),
    "token bound": (
        (400, error("not supported", "unsupported_parameter", "max_completion_tokens")),
        "ModelFailed",
        ["unsupported_parameter", "AZURE_OPENAI_MAX_COMPLETION_TOKENS"],
        [],
    ),
    "usage in streams": (
        (400, error("Unknown argument", None, "stream_options")),
        "ModelFailed",
        ["AZURE_OPENAI_API_VERSION"],
        [],
    ),
    "tools without reasoning only": (
        (
            400,
            error(
                "Function tools with reasoning_effort are not supported for this model in chat "
                "completions. Set reasoning_effort to 'none'.",
                None,
                "reasoning_effort",
            ),
        ),
        "ModelFailed",
        ["Function tools with reasoning_effort", "AZURE_OPENAI_REASONING_EFFORT to none"],
        ["remove"],
    ),
    "no tools": (
        (400, error("This model does not support tools.", None, "tools")),
        "ModelFailed",
        ["does not support tools", "AZURE_OPENAI_CHAT_DEPLOYMENT_NAME must name a model that"],
        [],
    ),
    "no tools, as vLLM says it": (
        (
            400,
            {
                "object": "error",
                "message": '"auto" tool choice requires --enable-auto-tool-choice',
                "code": 400,
            },
        ),
        "ModelFailed",
        ["--enable-auto-tool-choice", "function tools"],
        [],
    ),
    "no chat": (
        (
            400,
            error(
                "The chatCompletion operation does not work with the specified model, "
                "text-embedding-3.",
                "OperationNotSupported",
            ),
        ),
        "ModelFailed",
        ["OperationNotSupported", "must name a model for chat completions"],
        [],
    ),
    "pictures to a model that reads text": (
        (400, error("Invalid content type. image_url is only supported by certain models.", None)),
        "ModelFailed",
        ["image_url is only supported by certain models", "Set AZURE_OPENAI_VISION to none"],
        [],
    ),
    "a parameter that no setting is for": (
        (400, error("Invalid 'messages[3].content'", "invalid_value", "messages[3].content")),
        "ModelFailed",
        ["HTTP 400, invalid_value: Invalid 'messages[3].content'."],
        ["AZURE_"],
    ),
    "no public access": (
        (403, error("Public access is disabled. Please configure private endpoint.", "403")),
        "ModelAccessDenied",
        ["Public access is disabled", "Networking"],
        ["role"],
    ),
    "a firewall": (
        (403, error("Access denied due to Virtual Network/Firewall rules.", "AccessDenied")),
        "ModelAccessDenied",
        ["AccessDenied", "Networking"],
        ["role"],
    ),
    "no role": (
        (
            401,
            {
                "error": {
                    "code": "PermissionDenied",
                    "message": "The principal "
                    "`0aef1b44-2f5c-4d0c-9d0f-1d3c8a2b4e5f` lacks the required data action",
                }
            },
        ),
        "ModelAccessDenied",
        ["needs the role", "PermissionDenied", "lacks the required data action"],
        ["0aef1b44"],
    ),
    "a token that is not taken": (
        (401, {"statusCode": 401, "message": "Unauthorized. Access token is missing"}),
        "ModelAccessDenied",
        ["needs the role", "Access token is missing"],
        [],
    ),
    "keys alone": (
        (403, error("This tenant is blocked.", "Blocked")),
        "ModelAccessDenied",
        ["HTTP 403, Blocked: This tenant is blocked."],
        ["role"],
    ),
    "no deployment": (
        (404, error("The API deployment for this resource does not exist.", "DeploymentNotFound")),
        "DeploymentNotFound",
        ["AZURE_OPENAI_CHAT_DEPLOYMENT_NAME", "HTTP 404, DeploymentNotFound"],
        [],
    ),
    "a relay's model": (
        (404, error("No model 'qwen3': correct LOCAL_MODEL_NAME.", "LocalModelNotFound")),
        "DeploymentNotFound",
        ["LocalModelNotFound: No model 'qwen3': correct LOCAL_MODEL_NAME."],
        ["AZURE_"],
    ),
    "the context": (
        (400, error("This model's maximum context length is 10 tokens", "context_length_exceeded")),
        "ContextTooLong",
        ["Shorten"],
        [],
    ),
    "the context, as llama.cpp says it": (
        (
            400,
            {
                "error": {
                    "code": 400,
                    "type": "exceed_context_size_error",
                    "message": "the request exceeds the available context size",
                }
            },
        ),
        "ContextTooLong",
        ["Shorten"],
        [],
    ),
    "the filter": (
        (400, error("filtered", "content_filter", "prompt")),
        "ContentFiltered",
        ["content filter"],
        [],
    ),
    "quota": (
        (429, error("You exceeded your current quota", "insufficient_quota")),
        "ModelThrottled",
        ["insufficient_quota: You exceeded your current quota"],
        [],
    ),
    "text": (
        (500, "out of memory\n\tat line 3"),
        "ModelFailed",
        ["HTTP 500, out of memory at line 3."],
        ["\n"],
    ),
    "a page": ((502, "<html><h1>Bad Gateway</h1></html>"), "ModelFailed", ["HTTP 502."], ["<"]),
    "nothing": ((503, None), "ModelFailed", ["HTTP 503."], []),
    "a list": ((500, [1, 2]), "ModelFailed", ["HTTP 500."], []),
    "a text for an error": ((500, {"error": "CUDA error"}), "ModelFailed", ["CUDA error"], []),
    "odd fields": (
        (500, {"error": {"message": 7, "code": ["x"], "param": {"y": 1}}}),
        "ModelFailed",
        ["HTTP 500."],
        [],
    ),
    "FastAPI": ((422, {"detail": "Field required"}), "ModelFailed", ["Field required"], []),
    "a redirect": (
        (307, ""),
        "ModelFailed",
        ["redirects (HTTP 307)", "AZURE_OPENAI_ENDPOINT"],
        [],
    ),
}


@pytest.mark.parametrize(
    ("answer", "code", "has", "has_not"), REFUSALS.values(), ids=REFUSALS.keys()
)
async def test_a_refusal_keeps_the_services_words_and_names_what_mends_it(
    answer: tuple[int, object], code: str, has: list[str], has_not: list[str]
) -> None:
    failure = Refusal.read(*answer).as_error()
    assert failure.code == code
    assert [part for part in has if part not in failure.detail] == [], failure.detail
    assert [part for part in has_not if part in failure.detail] == [], failure.detail


SECRETS = [
    "https://my-account.openai.azure.com/openai/deployments/x",
    "my-account.openai.azure.com",
    "http://10.0.0.7:8000/v1",
    "http://127.0.0.1.evil.example/",
    "192.168.1.20:11434",
    "Bearer eyJhbGciOi.abc.def",
    "sk-proj-abcdefgh12345678",
    "key-12ab******34cd",
    "0aef1b44-2f5c-4d0c-9d0f-1d3c8a2b4e5f",
    "3f9a1c0b7d2e4f5a8b6c9d0e1f2a3b4c",
    "AbCdEf0123456789AbCdEf0123456789AbCdEf0123456789==",
]


@pytest.mark.parametrize("secret", SECRETS)
async def test_addresses_keys_and_ids_stay_behind(secret: str) -> None:
    detail = Refusal.read(400, error(f"Before {secret} after.")).as_error().detail
    assert secret not in detail
    assert "Before […" in detail
    assert "after." in detail


@pytest.mark.parametrize(
    "plain",
    [
        "AZURE_OPENAI_CHAT_DEPLOYMENT_NAME_AND_MORE",
        "http://127.0.0.1:11434/v1",
        "http://localhost:8080/v1/chat/completions",
        "Microsoft.CognitiveServices/accounts/OpenAI/deployments/chat/completions/action",
        "tool_calls[0].function.arguments",
    ],
)
async def test_words_and_this_machines_addresses_are_no_secrets(plain: str) -> None:
    assert plain in Refusal.read(400, error(f"Before {plain} after.")).as_error().detail


async def test_a_long_message_is_bounded() -> None:
    assert len(Refusal.read(400, error("word " * 100_000, "c" * 5000)).as_error().detail) < 700


async def test_both_ways_to_say_when_are_read() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    cases: dict[str, int | None] = {"60": 60, "0.2": 1, "soon": None, "-3": None, "inf": None}
    assert {value: retry_after_s({"retry-after": value}) for value in cases} == cases
    assert retry_after_s({"retry-after": later}) in (59, 60)
    assert retry_after_s({"retry-after-ms": "1200", "retry-after": "9"}) == 2
    assert retry_after_s({}) is None


async def failure_of(open_runtime: OpenRuntime, url: str, **settings: object) -> AgentError:
    async with open_runtime(azure_openai_endpoint=url, **settings) as runtime:
        last = (await collect(stateless_turn(runtime.turns, TurnRequest("Hi")))).events[-1]
    assert isinstance(last, TurnFailed)
    return last.error


@pytest.mark.parametrize("log_content", [False, True])
async def test_the_words_reach_the_caller_and_the_log_where_it_may_have_content(
    open_runtime: OpenRuntime, caplog: pytest.LogCaptureFixture, *, log_content: bool
) -> None:
    # As servers have it that repeat what they were sent.
    words = "Only the default (1) value is supported, 'input': 'Hi'"
    refusal = error(words, "unsupported_value", "temperature")
    async with raw_server(response(refusal, status=400)) as server:
        with caplog.at_level(logging.INFO):
            failure = await failure_of(open_runtime, server.url, log_content=log_content)
    assert f"unsupported_value: {words}" in failure.detail
    assert "unsupported_value: […]. Change or remove AZURE_OPENAI_TEMPERATURE" in caplog.text
    assert (words in caplog.text) is log_content


async def test_a_minute_of_waiting_is_left_to_the_caller(open_runtime: OpenRuntime) -> None:
    throttled = response(error("Slow down", "429"), "retry-after: 60", status=429)
    async with raw_server(throttled) as server:
        failure = await failure_of(open_runtime, server.url)
    assert (failure.code, failure.retry_after_s) == ("ModelThrottled", 60)
    assert len(server.requests) == 1


async def test_a_moment_of_waiting_is_not_noticed(open_runtime: OpenRuntime) -> None:
    throttled = response(error("Slow down", "429"), "retry-after-ms: 10", status=429)
    refused = response(error("No."), status=400)
    async with raw_server(throttled, refused) as server:
        failure = await failure_of(open_runtime, server.url)
    assert failure.code == "ModelFailed"
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_model_call_is_never_sent_on_to_where_an_answer_points(
    open_runtime: OpenRuntime, status: int
) -> None:
    async with raw_server(response({})) as elsewhere:
        redirect = response(b"", f"location: {elsewhere.url}/x", status=status)
        async with raw_server(redirect) as server:
            failure = await failure_of(open_runtime, server.url)
    assert (len(server.requests), elsewhere.requests) == (1, [])
    assert failure.code == "ModelFailed"
    assert elsewhere.url not in failure.detail
    assert f"HTTP {status}" in failure.detail
