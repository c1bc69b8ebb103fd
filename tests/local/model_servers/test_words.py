"""What a developer reads at the start about who answers, and what could."""

import argparse
import asyncio

import pytest

from local import __main__ as local_main
from tests.local.model_servers import recorded
from tests.local.model_servers.test_checking import CALL, CHAT, answer


async def test_a_model_is_introduced_at_once_and_its_check_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    printed: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
    monkeypatch.setattr(local_main, "_print", lambda *lines: printed.put_nowait(lines))
    async with recorded.server(recorded.OLLAMA) as server:
        server.pages[CHAT] = answer("tool_calls", tool_calls=[CALL])
        arguments = argparse.Namespace(model=server.url)
        async with local_main._model(arguments, "make run LOCAL_MODEL={}") as (model, about):
            assert model is not None
            assert await about == f"The model is qwen3:4b, by Ollama at {server.url}/v1."
            async with asyncio.timeout(60):
                tools, context = await printed.get()
    assert tools == "qwen3:4b calls tools."
    assert context.startswith("qwen3:4b has a context of 4,096 tokens")


async def test_a_check_that_is_under_way_does_not_hold_up_the_end() -> None:
    async with recorded.server(recorded.LLAMA_CPP) as server:
        server.pages[CHAT] = b"HTTP/1.1 200 OK\r\n"
        arguments = argparse.Namespace(model=server.url)
        async with asyncio.timeout(30), local_main._model(arguments, "{}") as (model, _):
            assert model is not None
            server.hold = asyncio.Event()  # the look was answered, the question is not
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("make run LOCAL_MODEL={}", "make run LOCAL_MODEL=ollama  "),
        ("python -m local --model {}", "python -m local --model model.gguf  "),
    ],
)
async def test_the_stand_in_says_what_else_could_answer(
    command: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def offers(command: str) -> list[str]:
        return ["Ollama is running with a: " + command.format("ollama")]

    # Whatever runs on the usual ports of the machine that this test is on.
    monkeypatch.setattr(local_main, "offers", offers)
    monkeypatch.setattr(local_main, "_environment", {})
    async with local_main._model(argparse.Namespace(model=None), command) as (model, about):
        assert model is None
        said = await about
    assert said.startswith("The model is a stand-in: a small program, not a language model.")
    assert words in said
    assert said.endswith("\n\nOllama is running with a: " + command.format("ollama"))
