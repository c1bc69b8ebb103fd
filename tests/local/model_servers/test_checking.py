"""Whether a model calls tools is asked of its server, in words that each kind understands."""

import asyncio
import json
from typing import Any

import pytest

from local.azure_openai import Relay
from local.model_servers import checking
from local.model_servers.finding import find
from tests.local.model_servers import recorded
from tests.support.raw_server import RawServer, raw_server, response

CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "multiply", "arguments": '{"a":1234,"b":5678}'},
}
CHAT = "/v1/chat/completions"
AS_TEXT = "M writes its calls of tools as text, which its server does not take for calls"
GUESSES = "M does not call tools: its answers will be guesses."


def answer(finish: str, **message: Any) -> bytes:
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", **message}}
    return response({"object": "chat.completion", "model": "M", "choices": [choice]})


def vllm_error(message: str) -> bytes:
    error = {"object": "error", "message": message, "type": "BadRequestError", "code": 400}
    return response(error, status=400)


NO_PARSER = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'

# What a server answers → what the developer reads.
ANSWERS: dict[str, tuple[bytes, str]] = {
    "a call": (answer("tool_calls", content="", tool_calls=[CALL]), "M calls tools."),
    "a call that ends with stop": (
        answer("stop", content="I multiply.", tool_calls=[CALL]),
        "M calls tools.",
    ),
    "words": (answer("stop", content="7006652"), GUESSES),
    "no call": (answer("stop", content="", tool_calls=[]), GUESSES),
    "a null for calls": (answer("stop", content=None, tool_calls=None), GUESSES),
    "a call of another tool": (
        answer("tool_calls", tool_calls=[{**CALL, "function": {"name": "search"}}]),
        GUESSES,
    ),
    **{
        f"a call as text: {text[:12]}": (answer("stop", content=text), AS_TEXT)
        for text in (
            '<tool_call>{"name": "multiply", "arguments": {"a": 1234}}</tool_call>',
            "<function=multiply><parameter=a>1234",
            "[multiply(a=1234, b=5678)]",
            "[TOOL_CALLS] [{'name': 'multiply'}]",
        )
    },
    "words about multiplying": (answer("stop", content="I multiply (as asked): 7"), GUESSES),
    "thoughts without end": (
        answer("length", content="", reasoning_content="Okay, so the user"),
        "M talked for 512 tokens and called no tool when one was needed: answers may be guesses.",
    ),
    "no choice": (response({"choices": []}), GUESSES),
    "odd choices": (response({"choices": "none"}), GUESSES),
    "Ollama refuses": (
        response(
            {"error": {"message": "registry.ollama.ai/library/M does not support tools"}},
            status=400,
        ),
        "library/M does not support tools. Name a model that takes tools in LOCAL_MODEL_NAME.",
    ),
    "vLLM without a parser": (
        vllm_error(NO_PARSER),
        "Start vLLM with these options, or name another model in LOCAL_MODEL_NAME.",
    ),
    "vLLM's context": (
        vllm_error("This model's maximum context length is 128 tokens."),
        "M did not take a question with a tool: This model's maximum context length is 128 tokens.",
    ),
    "LM Studio without a model": (
        response(
            {"error": {"message": "No models loaded. Please load a model", "param": "model"}},
            status=404,
        ),
        "No models loaded. Please load a model. Correct LOCAL_MODEL_NAME, or download",
    ),
    "llama.cpp's template": (
        response({"error": {"code": 500, "message": "Value is not callable: null"}}, status=500),
        "answered 500: Value is not callable: null",
    ),
    "broken JSON": (response(b"{"), "no chat completion: {"),
    "nothing": (b"", "does not answer (RemoteProtocolError"),
}


@pytest.mark.parametrize(("said", "sentence"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_a_model_that_calls_no_tools_is_told_apart(said: bytes, sentence: str) -> None:
    async with raw_server(said) as server:
        [line] = await checking.check(Relay(f"{server.url}/v1", "M"), None)
    assert sentence in line
    [asked] = server.bodies
    assert asked["tools"][0]["function"]["name"] == "multiply"
    assert "stream" not in asked


async def test_a_model_that_takes_too_long_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checking, "TIMEOUT_S", 0.05)
    async with raw_server(b"HTTP/1.1 200 OK\r\n") as server:
        server.hold = asyncio.Event()
        [line] = await checking.check(Relay(server.url, "M"), None)
    assert line == "M did not answer in 0.05 s: whether it calls tools is not known."


async def ask(server: RawServer, name: str) -> tuple[list[str], Any]:
    server.pages[CHAT] = answer("tool_calls", tool_calls=[CALL])
    found = await find(server.url)
    assert found is not None
    lines = await checking.check(Relay(found.url, name), found)
    [asked] = [body for body in server.bodies if body]
    return lines, asked


# A server → how its model is kept from thinking first, and how its context gets wider.
SERVERS = {
    "Ollama": (
        recorded.OLLAMA,
        "qwen3:4b",
        {"reasoning_effort": "none"},
        "4,096 tokens",
        "OLLAMA_CONTEXT_LENGTH=16384 ollama serve",
    ),
    "vLLM": (
        recorded.VLLM,
        "Qwen/Qwen3-4B",
        {"chat_template_kwargs": {"enable_thinking": False}},
        "2,048 tokens",
        "vllm serve --max-model-len 16384",
    ),
    "LM Studio": (
        recorded.LM_STUDIO,
        "qwen3-4b",
        {},
        "4,096 tokens",
        "lms load qwen3-4b --context-length 16384",
    ),
}


@pytest.mark.parametrize(
    ("bodies", "name", "unthinking", "tokens", "widen"), SERVERS.values(), ids=SERVERS.keys()
)
async def test_a_short_context_is_told_with_the_way_to_a_longer_one(
    bodies: dict[str, bytes], name: str, unthinking: dict[str, Any], tokens: str, widen: str
) -> None:
    async with recorded.server(bodies) as server:
        lines, asked = await ask(server, name)
    assert lines[0] == f"{name} calls tools."
    assert f"has a context of {tokens}" in lines[1]
    assert lines[1].endswith(f"Widen it: {widen}")
    added = {"chat_template_kwargs", "reasoning_effort"} & asked.keys()
    assert {key: asked[key] for key in added} == unthinking
    assert json.dumps(asked).count(name) == 1


async def test_a_context_with_room_is_not_mentioned() -> None:
    async with recorded.server(recorded.LLAMA_CPP) as server:
        lines, _ = await ask(server, "SmolLM2")
    assert lines == ["SmolLM2 calls tools."]
