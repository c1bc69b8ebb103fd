"""A turn of the agent on each server, by what the server sends: through the relay, in bytes."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agent.runtime import Runtime
from agent.turns.turn import TurnRequest, stateless_turn, with_terminal_event
from local.azure_openai import AzureOpenAI, Relay
from local.defaults import AZURE_OPENAI_AUDIENCE
from local.serving import serve
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.raw_server import RawServer, events, raw_server, response
from tests.support.turns import CollectedTurn, collect

pytestmark = pytest.mark.asyncio(loop_scope="session")

CODE = "print(6 * 7)"
ARGUMENTS = json.dumps({"code": CODE})
HEAD: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m"}
USAGE = {"prompt_tokens": 700, "completion_tokens": 30, "total_tokens": 730}


def chunk(delta: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return HEAD | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]} | more


def call(arguments: str, name: str | None = "execute_python", **more: Any) -> dict[str, Any]:
    """A piece of a tool call; a name of None leaves it out."""
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return {"tool_calls": [{**more, "function": function}]}


# Server → the stream in which its model calls the tool, and the one in which it answers.
STREAMS: dict[str, tuple[bytes, bytes]] = {
    # The call in one piece, thoughts beside it; usage alone, with the finish reason repeated.
    "Ollama": (
        events(
            chunk({"role": "assistant", "content": "", "reasoning": "I compute."}),
            chunk(call(ARGUMENTS, index=0, id="call_a", type="function") | {"content": ""}),
            chunk({}, "tool_calls", system_fingerprint="fp_ollama"),
            HEAD | {"choices": [], "usage": USAGE},
        ),
        events(
            chunk({"role": "assistant", "content": "It is"}),
            chunk({"content": " 42."}),
            chunk({}, "stop"),
            HEAD | {"choices": [], "usage": USAGE},
        ),
    ),
    # The name first, the arguments piece by piece; usage and timings behind the finish.
    "llama.cpp": (
        events(
            chunk({"role": "assistant", "content": None}),
            chunk(call("{", index=0, id="Zx9", type="function")),
            chunk(call(ARGUMENTS[1:12], None, index=0)),
            chunk(call(ARGUMENTS[12:], None, index=0)),
            chunk({}, "tool_calls"),
            HEAD | {"choices": [], "usage": USAGE, "timings": {"prompt_n": 700, "cache_n": 0}},
        ),
        events(
            chunk({"role": "assistant", "content": None}),
            chunk({"content": "It is 42."}),
            chunk({}, "stop"),
            HEAD | {"choices": [], "usage": USAGE, "timings": {"prompt_n": 20}},
        ),
    ),
    # A role and empty words first; nulls everywhere; a stop_reason of its own.
    "vLLM": (
        events(
            chunk({"role": "assistant", "content": "", "reasoning_content": None}),
            chunk(call("", id="chatcmpl-tool-1", type="function", index=0)),
            chunk(call(ARGUMENTS, None, index=0)),
            HEAD
            | {
                "choices": [
                    {
                        "index": 0,
                        "delta": {"content": ""},
                        "logprobs": None,
                        "finish_reason": "tool_calls",
                        "stop_reason": None,
                    }
                ]
            },
            HEAD | {"choices": [], "usage": USAGE | {"prompt_tokens_details": None}},
        ),
        events(
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "It is 42."}),
            chunk({"content": ""}, "stop", usage=None),
            HEAD | {"choices": [], "usage": USAGE},
        ),
    ),
    # An id of digits; the finish reason alone; no usage by older ones.
    "LM Studio": (
        events(
            chunk({"role": "assistant"} | call("", index=0, id="365174485", type="function")),
            chunk(call(ARGUMENTS, None, index=0)),
            chunk({}, "tool_calls", system_fingerprint="m"),
        ),
        events(chunk({"role": "assistant", "content": "It is 42."}), chunk({}, "stop")),
    ),
}


@asynccontextmanager
async def on(
    server: RawServer, azure: SharedAzure, open_runtime: OpenRuntime
) -> AsyncIterator[Runtime]:
    """A runtime whose model is this server's, by way of the relay."""
    verifier = azure.stack.identity.verifier(AZURE_OPENAI_AUDIENCE)
    relay = Relay(f"{server.url}/v1", "m")
    openai = AzureOpenAI(verifier, deployment=azure.stack.openai.deployment, model=relay)
    async with serve(openai.app) as url, open_runtime(azure_openai_endpoint=url) as runtime:
        yield runtime


async def turn_of(runtime: Runtime) -> CollectedTurn:
    request = TurnRequest("How much is 6 times 7?", stream=True)
    return await collect(with_terminal_event(stateless_turn(runtime.turns, request)))


@pytest.mark.parametrize("streams", STREAMS.values(), ids=STREAMS.keys())
async def test_its_model_calls_the_tool_and_answers(
    azure: SharedAzure, open_runtime: OpenRuntime, streams: tuple[bytes, bytes]
) -> None:
    async with raw_server(*streams) as server, on(server, azure, open_runtime) as runtime:
        turn = await turn_of(runtime)
    [execution] = turn.executions
    assert (execution.code, execution.stdout) == (CODE, "42\n")
    assert turn.finished.output == "It is 42."
    assert turn.finished.warnings == ()
    assert [body["model"] for body in server.bodies] == ["m", "m"]
    assert [target for target, _, _ in server.requests] == ["/v1/chat/completions"] * 2


LM_STUDIO_CONTEXT = (
    "Trying to keep the first 5120 tokens when context the overflows. However, the model is loaded "
    "with context length of only 4096 tokens, which is not enough."
)

# What a server refuses → the code of the turn's error, and what its words have.
REFUSALS: dict[str, tuple[bytes, str, str]] = {
    "Ollama, no such model": (
        response({"error": {"message": "model 'm' not found", "code": None}}, status=404),
        "DeploymentNotFound",
        "Correct LOCAL_MODEL_NAME, or download the model",
    ),
    "Ollama, no tools": (
        response(
            {"error": {"message": "registry.ollama.ai/library/m does not support tools"}},
            status=400,
        ),
        "ModelFailed",
        "Name a model that takes tools in LOCAL_MODEL_NAME.",
    ),
    "llama.cpp, context": (
        response(
            {
                "error": {
                    "code": 400,
                    "message": "request (5120 tokens) exceeds the available context size (4096"
                    " tokens), try increasing it",
                    "type": "exceed_context_size_error",
                    "n_prompt_tokens": 5120,
                    "n_ctx": 4096,
                }
            },
            status=400,
        ),
        "ContextTooLong",
        "exceeds the available context size",
    ),
    "llama.cpp, loading": (
        response(
            {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
            status=503,
        ),
        "ModelFailed",
        "It loads the model: ask again later.",
    ),
    "vLLM, no parser": (
        response(
            {
                "error": {
                    "message": '"auto" tool choice requires --enable-auto-tool-choice and'
                    " --tool-call-parser to be set",
                    "type": "BadRequestError",
                    "param": None,
                    "code": 400,
                }
            },
            status=400,
        ),
        "ModelFailed",
        "Start vLLM with these options",
    ),
    "vLLM, context": (
        response(
            {
                "object": "error",
                "message": "This model's maximum context length is 4096 tokens. However, you "
                "requested 6144 tokens (5120 in the messages, 1024 in the completion).",
                "type": "BadRequestError",
                "param": None,
                "code": 400,
            },
            status=400,
        ),
        "ContextTooLong",
        "maximum context length is 4096 tokens",
    ),
    "LM Studio, no model": (
        response(
            {
                "error": {
                    "message": "No models loaded. Please load a model in the developer page or use"
                    " the `lms load` command.",
                    "type": "invalid_request_error",
                    "param": "model",
                    "code": "model_not_found",
                }
            },
            status=404,
        ),
        "DeploymentNotFound",
        "use the `lms load` command.",
    ),
    "LM Studio, context": (
        response({"error": LM_STUDIO_CONTEXT}, status=400),
        "ContextTooLong",
        "context length of only 4096 tokens",
    ),
    "LM Studio, context, in the stream": (
        events(
            b"event: error\ndata: "
            + json.dumps({"error": {"message": LM_STUDIO_CONTEXT}}).encode()
            + b"\n\n",
            done=False,
        ),
        "ContextTooLong",
        "context length of only 4096 tokens",
    ),
}


@pytest.mark.parametrize(("answer", "code", "words"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_what_it_refuses_is_an_error_with_the_right_mend(
    azure: SharedAzure, open_runtime: OpenRuntime, answer: bytes, code: str, words: str
) -> None:
    async with raw_server(answer) as server, on(server, azure, open_runtime) as runtime:
        turn = await turn_of(runtime)
    assert turn.error_code == code
    message = str(turn.events[-1])
    assert words in message
    assert "AZURE_" not in message, "the developer has no such setting here"
    assert len(server.requests) == 1, "asked again in vain"
