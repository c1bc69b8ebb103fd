"""What is not Azure's wire format, or not emulated, is refused and named."""

from typing import Any

import pytest

from local.azure_openai import AzureOpenAI, RateLimits, Say
from local.managed_identity import ManagedIdentity, TokenVerifier
from tests.local.azure_openai.conftest import AUDIENCE, CHAT, HELLO, TOOL, Connect
from tests.support.pictures import PICTURES, data_url

ASKED: dict[str, Any] = {
    "role": "assistant",
    "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "call_2", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    ],
}
FIRST = {"role": "tool", "tool_call_id": "call_1", "content": "1"}
SECOND = {"role": "tool", "tool_call_id": "call_2", "content": "2"}


def called(name: str = "f", id_: str = "call_1", arguments: str = "{}") -> dict[str, Any]:
    call = {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}
    result = {"role": "tool", "tool_call_id": id_, "content": "1"}
    return {"messages": [{"role": "assistant", "tool_calls": [call]}, result]}


IMAGE_PARAM = "messages.[0].content.[0].image_url.url"
PNG = data_url(PICTURES["image/png"])


def with_part(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def image(*urls: str) -> dict[str, Any]:
    return with_part(*({"type": "image_url", "image_url": {"url": url}} for url in urls))


@pytest.fixture
def service(verifier: TokenVerifier) -> AzureOpenAI:
    return AzureOpenAI(verifier, model=lambda request: Say("fine"))


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({}, "messages", "Missing required parameter"),
        ({"messages": []}, "messages", "at least 1 item"),
        ({"messages": "hi"}, "messages", "valid list"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "required"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0]", "'robot'"),
        ({"messages": [{**HELLO[0], "colour": 1}]}, "messages[0].colour", "not permitted"),
        (with_part({"type": "video"}), "messages[0].content[0].type", "'video'"),
        (with_part({"type": "image_url"}), "messages[0].content[0].image_url", "required"),
        (
            with_part({"type": "image_url", "image_url": {"url": PNG, "detail": "max"}}),
            "messages[0].content[0].image_url.detail",
            "'low'",
        ),
        (image("data:image/png;base64,x"), IMAGE_PARAM, "not correctly formatted in base64"),
        (image("data:text/html;base64,eA=="), IMAGE_PARAM, "Only image types"),
        (image("data:image/png;base64,eA=="), IMAGE_PARAM, "unsupported image"),
        (image("picture.png"), IMAGE_PARAM, "Expected a valid URL"),
        (image(*[PNG] * 11), "messages.[0].content.[10]", "Max is 10"),
        ({"messages": [{"role": "assistant"}]}, "messages.[0].content", "got null"),
        ({"messages": HELLO, "temperature": 2.5}, "temperature", "less than or equal to 2"),
        ({"messages": HELLO, "temperature": "hot"}, "temperature", "valid number"),
        ({"messages": HELLO, "max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"messages": HELLO, "stream": "yes"}, "stream", "valid boolean"),
        ({"messages": HELLO, "tools": []}, "tools", "at least 1 item"),
        (
            {"messages": HELLO, "tools": [{"type": "function", "function": {"name": "a b"}}]},
            "tools[0].function.name",
            "match pattern",
        ),
        (
            {"messages": HELLO, "tools": [TOOL], "tool_choice": "always"},
            "tool_choice",
            "'required'",
        ),
        ({"messages": HELLO, "tool_choice": "auto"}, "tool_choice", "when 'tools' are"),
        (
            {"messages": HELLO, "parallel_tool_calls": True},
            "parallel_tool_calls",
            "when 'tools' are",
        ),
        (
            {
                "messages": HELLO,
                "tools": [TOOL],
                "tool_choice": {"type": "function", "function": {"name": "other"}},
            },
            "tool_choice",
            "'other' not found",
        ),
        ({"messages": HELLO, "stream_options": {}}, "stream_options", "when 'stream'"),
        (
            {"messages": HELLO, "max_tokens": 1, "max_completion_tokens": 1},
            "max_tokens",
            "at the same time",
        ),
        ({"messages": HELLO, "no_such_thing": 1}, None, "argument supplied: no_such_thing"),
        ({"messages": HELLO, "n": 2}, "n", "not emulated"),
        ({"messages": HELLO, "logprobs": True}, "logprobs", "not emulated"),
        (
            {"messages": HELLO, "response_format": {"type": "json_object"}},
            "response_format",
            "not emulated",
        ),
        ({"messages": HELLO, "reasoning_effort": "high"}, "reasoning_effort", "not emulated"),
        ({"messages": [FIRST]}, "messages.[0].role", "preceding message with 'tool_calls'"),
        ({"messages": [*HELLO, ASKED]}, "messages.[1].tool_calls", "call_1, call_2"),
        ({"messages": [ASKED, FIRST, *HELLO]}, "messages.[0].tool_calls", "messages: call_2"),
        ({"messages": [ASKED, FIRST, FIRST]}, "messages.[2].role", "must be a response"),
        ({"messages": [ASKED, ASKED, FIRST]}, "messages.[0].tool_calls", "call_1, call_2"),
        (called(name="a.b"), "messages[0].tool_calls[0].function.name", "does not match pattern"),
        (called(name=""), "messages[0].tool_calls[0].function.name", "does not match pattern"),
        (called(name="x" * 65), "messages[0].tool_calls[0].function.name", "does not match"),
        (called(id_=""), "messages[0].tool_calls[0].id", "with length 0"),
        (called(id_="x" * 41), "messages[0].tool_calls[0].id", "with length 41"),
        (called(arguments=""), "messages[0].tool_calls[0].function.arguments", "JSON object"),
        (called(arguments="{"), "messages[0].tool_calls[0].function.arguments", "JSON object"),
        (called(arguments="[1]"), "messages[0].tool_calls[0].function.arguments", "JSON object"),
        (
            {"messages": [{**ASKED, "tool_calls": 2 * ASKED["tool_calls"][:1]}, FIRST]},
            "messages[0].tool_calls",
            "Duplicate tool call id",
        ),
        (
            {"messages": [*HELLO, {"role": "system", "content": "Answer."}]},
            "messages.[1].role",
            "must be at the beginning",
        ),
        (
            {"messages": [ASKED, FIRST, SECOND, *HELLO]},
            "messages.[3].role",
            "Unexpected role 'user' after role 'tool'",
        ),
    ],
)
async def test_bad_body_is_refused_with_the_field_that_is_wrong(
    service: AzureOpenAI, call: Connect, body: dict[str, Any], param: str | None, words: str
) -> None:
    async with call(service) as client:
        response = await client.post(CHAT, json=body)
    error = response.json()["error"]
    assert response.status_code == 400
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert words in error["message"]


async def test_a_model_that_reads_text_alone_refuses_pictures(
    service: AzureOpenAI, call: Connect
) -> None:
    async with call(service) as client:
        seen = await client.post(CHAT, json=image(PNG))
        service.sees = False
        refused = await client.post(CHAT, json=image(PNG))
    assert seen.status_code == 200
    error = refused.json()["error"]
    assert (refused.status_code, error["param"]) == (400, "messages.[0].content.[0].type")
    assert "image_url is only supported by certain models" in error["message"]


async def test_no_picture_is_fetched_from_the_internet(service: AzureOpenAI, call: Connect) -> None:
    async with call(service) as client:
        refused = await client.post(CHAT, json=image("https://example.com/a.png"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (501, "NotEmulated")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff\xfe"])
async def test_body_that_is_no_json_object_is_refused(
    service: AzureOpenAI, call: Connect, body: bytes
) -> None:
    async with call(service) as client:
        response = await client.post(CHAT, content=body)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [ASKED, SECOND, FIRST]},
        {"messages": [*HELLO, ASKED, FIRST, SECOND, {"role": "assistant", "content": "Done."}]},
        {"messages": [{"role": "developer", "content": "Be brief."}, *HELLO]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
        {"messages": [{"role": "assistant", "content": ""}, *HELLO]},
        {"messages": HELLO, "n": 1, "logprobs": False, "response_format": {"type": "text"}},
        {"messages": HELLO, "temperature": 0, "top_p": 1, "seed": 4, "user": "u", "stop": "x"},
        {"messages": HELLO, "tool_choice": "none"},
    ],
)
async def test_good_body_is_answered(
    service: AzureOpenAI, call: Connect, body: dict[str, Any]
) -> None:
    async with call(service) as client:
        response = await client.post(CHAT, json=body)
    assert response.json()["choices"][0]["message"]["content"] == "fine"


async def test_request_without_a_token_is_refused_before_its_body_is_read(
    service: AzureOpenAI, call: Connect
) -> None:
    async with call(service) as client:
        client.headers.pop("authorization")
        response = await client.post(CHAT, content=b"{")
    assert response.status_code == 401
    assert response.json() == {
        "error": {
            "code": "401",
            "message": "Unauthorized. Access token is missing, invalid, audience is incorrect"
            f" ({AUDIENCE}), or have expired.",
        }
    }
    assert "no bearer token" in response.headers["x-local-azure-reason"]


async def test_expired_token_is_refused(
    service: AzureOpenAI, call: Connect, identity: ManagedIdentity
) -> None:
    async with call(service) as client:
        expired = f"Bearer {identity.mint(AUDIENCE, lifetime_s=-1)}"
        response = await client.post(
            CHAT, json={"messages": HELLO}, headers={"authorization": expired}
        )
    assert response.status_code == 401
    assert response.headers["x-local-azure-reason"] == "the token has expired"


async def test_api_key_is_refused(service: AzureOpenAI, call: Connect) -> None:
    async with call(service) as client:
        client.headers.pop("authorization")
        response = await client.post(CHAT, json={"messages": HELLO}, headers={"api-key": "k"})
    assert response.status_code == 403
    assert response.json()["error"]["code"] == "AuthenticationTypeDisabled"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", CHAT.replace("/local/", "/other/"), 404, "DeploymentNotFound"),
        ("POST", CHAT.split("?")[0], 404, "404"),
        ("POST", CHAT.replace("2024-10-21", "2019-01-01"), 404, "404"),
        ("POST", "/openai/v1/chat/completions?api-version=2024-10-21", 404, "404"),
        ("POST", "/elsewhere", 404, "404"),
        ("POST", CHAT.replace("chat/completions", "embeddings"), 501, "NotEmulated"),
        ("POST", "/openai/v1/responses", 501, "NotEmulated"),
        ("DELETE", "/openai/files/1", 501, "NotEmulated"),
        ("GET", "/openai/models", 404, "404"),
    ],
)
async def test_unknown_paths_and_operations_are_told_apart(
    service: AzureOpenAI, call: Connect, method: str, path: str, status: int, code: str
) -> None:
    async with call(service) as client:
        response = await client.request(method, path, json={"messages": HELLO, "model": "local"})
    assert response.status_code == status
    assert response.json()["error"]["code"] == code
    assert "apim-request-id" in response.headers


@pytest.mark.parametrize("path", ["/openai/models?api-version=2024-10-21", "/openai/v1/models"])
async def test_models_are_listed(service: AzureOpenAI, call: Connect, path: str) -> None:
    async with call(service) as client:
        body = (await client.get(path)).json()
    assert [model["id"] for model in body["data"]] == ["local-stand-in"]


async def test_conversation_that_is_too_long_is_refused(
    verifier: TokenVerifier, call: Connect
) -> None:
    service = AzureOpenAI(verifier, model=lambda request: Say("ok"), context_tokens=100)
    body = {"messages": [{"role": "user", "content": "x" * 4 * 101}]}
    async with call(service) as client:
        response = await client.post(CHAT, json=body)
    error = response.json()["error"]
    assert response.status_code == 400
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")
    assert "maximum context length is 100 tokens" in error["message"]


async def test_minute_that_is_used_up_throttles_until_it_ends(
    verifier: TokenVerifier, call: Connect
) -> None:
    service = AzureOpenAI(
        verifier, model=lambda request: Say("ok"), limits=RateLimits(requests_per_minute=1)
    )
    async with call(service) as client:
        assert (await client.post(CHAT, json={"messages": HELLO})).status_code == 200
        refused = await client.post(CHAT, json={"messages": HELLO})
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
