"""LOCAL_MODEL: which model answers, by what a developer wrote."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from local.azure_openai import Relay
from local.azure_openai.relay import MAX_TOKENS
from local.model_servers import ModelServerError, open_model
from local.model_servers.kinds import KINDS, LLAMA_CPP, LM_STUDIO, OLLAMA, VLLM
from local.model_servers.naming import Wish, read_wish
from tests.local.model_servers import recorded
from tests.support.raw_server import RawServer

WISHES = {
    "ollama": Wish(OLLAMA, "http://127.0.0.1:11434/v1"),
    "Ollama": Wish(OLLAMA, "http://127.0.0.1:11434/v1"),
    "ollama:qwen3:4b": Wish(OLLAMA, "http://127.0.0.1:11434/v1", model="qwen3:4b"),
    "ollama:hf.co/a/b:Q4": Wish(OLLAMA, "http://127.0.0.1:11434/v1", model="hf.co/a/b:Q4"),
    "llama.cpp": Wish(LLAMA_CPP, "http://127.0.0.1:8080/v1"),
    "llamacpp": Wish(LLAMA_CPP, "http://127.0.0.1:8080/v1"),
    "vllm:Qwen/Qwen3-4B": Wish(VLLM, "http://127.0.0.1:8000/v1", model="Qwen/Qwen3-4B"),
    "lmstudio": Wish(LM_STUDIO, "http://127.0.0.1:1234/v1"),
    "lm-studio": Wish(LM_STUDIO, "http://127.0.0.1:1234/v1"),
    "https://h/v1": Wish(url="https://h/v1"),
    "model.gguf": Wish(file=Path.cwd() / "model.gguf"),
    "~/MODEL.GGUF": Wish(file=Path.home() / "MODEL.GGUF"),
    "models/a": Wish(file=Path.cwd() / "models/a"),
    "./ollama": Wish(file=Path.cwd() / "ollama"),
}


@pytest.mark.parametrize("value", WISHES)
def test_a_value_names_a_server_a_url_or_a_file(value: str) -> None:
    assert read_wish(value) == WISHES[value]


def test_the_name_of_a_model_may_stand_apart() -> None:
    assert read_wish("ollama", "a").model == "a"
    assert read_wish("ollama:b", "a").model == "b"
    assert read_wish("http://h/v1", "a").model == "a"


@pytest.mark.parametrize("value", ["olama", "ftp://model", "127.0.0.1:11434", "qwen3:4b", "a b"])
def test_a_value_that_names_nothing_is_answered_with_those_that_do(value: str) -> None:
    with pytest.raises(ModelServerError) as raised:
        read_wish(value)
    assert str(raised.value).startswith("LOCAL_MODEL must be one of ollama, llama.cpp, vllm, lms")
    assert str(raised.value).endswith(f"not {value!r}")


async def opened(settings: Mapping[str, str]) -> tuple[Relay, str]:
    async with open_model(settings, print) as model:
        assert model is not None
        return model.relay, str(model)


async def test_the_stand_in_answers_where_nothing_is_asked_for() -> None:
    for settings in ({}, {"LOCAL_MODEL": ""}, {"LOCAL_MODEL_NAME": "a"}):
        async with open_model(settings, print) as model:
            assert model is None


@pytest.fixture
async def ollama() -> AsyncIterator[RawServer]:
    async with recorded.server(recorded.OLLAMA) as server:
        yield server


async def test_a_server_says_itself_which_model_answers(ollama: RawServer) -> None:
    settings = {"LOCAL_MODEL": ollama.url, "LOCAL_MODEL_KEY": "sk-1"}
    relay, words = await opened(settings)
    assert relay == Relay(f"{ollama.url}/v1", "qwen3:4b", "sk-1", MAX_TOKENS, 4096)
    assert words == f"qwen3:4b, by Ollama at {ollama.url}/v1"
    assert "sk-1" not in words
    assert "sk-1" not in repr(relay)
    assert ollama.requests[0][1]["authorization"] == "bearer sk-1"


@pytest.mark.parametrize("name", ["LOCAL_MODEL", "LOCAL_MODEL_URL"])
async def test_a_model_is_named(ollama: RawServer, name: str) -> None:
    relay, _ = await opened({name: f"{ollama.url}/v1", "LOCAL_MODEL_NAME": "gemma3:4b"})
    assert (relay.url, relay.name) == (f"{ollama.url}/v1", "gemma3:4b")


async def test_the_longest_answer_may_have_no_bound(ollama: RawServer) -> None:
    relay, _ = await opened({"LOCAL_MODEL": ollama.url, "LOCAL_MODEL_MAX_TOKENS": "0"})
    assert relay.max_tokens == 0


async def test_a_named_model_of_a_server_that_lists_none_is_taken_at_its_word() -> None:
    async with recorded.server({}) as server:
        relay, words = await opened({"LOCAL_MODEL": server.url, "LOCAL_MODEL_NAME": "m"})
    assert (relay, words) == (Relay(server.url, "m"), f"m at {server.url}")
    async with recorded.server(recorded.HOSTED) as server:
        relay, words = await opened({"LOCAL_MODEL": server.url, "LOCAL_MODEL_NAME": "unlisted"})
    assert (relay.name, words) == ("unlisted", f"unlisted at {server.url}/v1")


@pytest.mark.parametrize("tokens", ["many", "-1", "1.5", "99999999", "²"])
async def test_a_wrong_bound_is_named(tokens: str) -> None:
    with pytest.raises(ModelServerError, match="LOCAL_MODEL_MAX_TOKENS must be a number of tok"):
        await opened({"LOCAL_MODEL": "http://h", "LOCAL_MODEL_MAX_TOKENS": tokens})


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
async def test_a_server_that_is_not_there_is_named_with_the_way_to_start_it(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(*_: object) -> None:
        return None

    # Whatever runs on the usual ports of the machine that this test is on.
    monkeypatch.setattr("local.model_servers.opening.find", nobody)
    with pytest.raises(ModelServerError) as raised:
        await opened({"LOCAL_MODEL": kind.name})
    assert str(raised.value).startswith(f"{kind.title} does not answer at http://127.0.0.1:")
    assert str(raised.value).endswith(f": {kind.start}.")


async def test_a_url_where_nothing_lists_models_needs_the_name_of_one() -> None:
    async with recorded.server({}) as server:
        with pytest.raises(ModelServerError) as raised:
            await opened({"LOCAL_MODEL": f"{server.url}/v1"})
    assert str(raised.value).startswith(f"No list of models at {server.url}/v1: start the server")
    assert "LOCAL_MODEL_NAME" in str(raised.value)
