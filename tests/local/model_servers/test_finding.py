"""Each server is known by what it says, and lists its models in its own way."""

import asyncio
import dataclasses

import pytest

from local.model_servers import ModelServerError, offers
from local.model_servers.finding import Found, ServedModel, find
from local.model_servers.kinds import KINDS, Kind
from tests.local.model_servers import recorded
from tests.support.raw_server import raw_server, response

QWEN = ServedModel("qwen3:4b", 4096, tools=True, loaded=True)
GEMMA = ServedModel("gemma3:4b", None, tools=False)

# What a server says → what it is called, its models that chat, and the one that answers.
SERVERS: dict[str, tuple[dict[str, bytes], str, list[ServedModel], str]] = {
    "Ollama": (recorded.OLLAMA, "Ollama", [GEMMA, QWEN], "qwen3:4b"),
    "Ollama, before": (
        recorded.OLLAMA_BEFORE,
        "Ollama",
        [ServedModel("mistral:latest")],
        "mistral:latest",
    ),
    "llama.cpp": (
        recorded.LLAMA_CPP,
        "llama.cpp",
        [ServedModel("SmolLM2", 8192, tools=False, loaded=True)],
        "SmolLM2",
    ),
    "llama.cpp, loading": (
        recorded.LLAMA_CPP_LOADING,
        "llama.cpp",
        [ServedModel("/m/a.gguf", loaded=True)],
        "/m/a.gguf",
    ),
    "llama.cpp, router": (
        recorded.LLAMA_CPP_ROUTER,
        "llama.cpp",
        [ServedModel("a"), ServedModel("b", loaded=True)],
        "b",
    ),
    "vLLM": (recorded.VLLM, "vLLM", [ServedModel("Qwen/Qwen3-4B", 2048)], "Qwen/Qwen3-4B"),
    "LM Studio": (
        recorded.LM_STUDIO,
        "LM Studio",
        [ServedModel("gemma-3-4b"), ServedModel("qwen3-4b", 4096, tools=True, loaded=True)],
        "qwen3-4b",
    ),
    "LM Studio, before": (
        recorded.LM_STUDIO_BEFORE,
        "LM Studio",
        [ServedModel("qwen3-4b")],
        "qwen3-4b",
    ),
    "another": (recorded.HOSTED, "A model server", [ServedModel("big-1")], "big-1"),
}


@pytest.mark.parametrize(
    ("bodies", "title", "models", "answers"), SERVERS.values(), ids=SERVERS.keys()
)
async def test_a_server_is_known_by_what_it_says(
    bodies: dict[str, bytes], title: str, models: list[ServedModel], answers: str
) -> None:
    async with recorded.server(bodies) as server:
        for url in (server.url, f"{server.url}/v1/", f"{server.url}/v1/chat/completions"):
            found = await find(url)
            assert found is not None
            assert (found.kind.title, found.url) == (title, f"{server.url}/v1")
            assert list(found.models) == models
            assert found.choose().name == answers


# What may listen on such a port and is no model server.
OTHERS = {
    "a page": response(b"<html>", content_type="text/html"),
    "JSON": response([1]),
    "deep JSON": response(b"[" * 100_000),
    "no list": response({"object": "list"}),
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "nothing": b"",
    "an error": response({"data": []}, status=500),
    "too much": response(b'{"data": [' + b"1," * 2_100_000 + b"1]}"),
}


@pytest.mark.parametrize("answer", OTHERS.values(), ids=OTHERS.keys())
async def test_what_is_no_model_server_is_passed_over(answer: bytes) -> None:
    async with raw_server(answer) as server:
        assert await find(server.url) is None


async def test_a_list_with_anything_in_it_is_read() -> None:
    entries = [1, None, {"id": 7}, {"id": "\x1b[2J"}, {"id": "x" * 201}, {}, {"id": "good"}]
    async with raw_server(response({"data": entries})) as server:
        found = await find(server.url)
    assert found is not None
    assert [model.name for model in found.models] == ["good"]


async def test_a_key_is_sent_and_asked_for() -> None:
    async with raw_server(response({}, status=401)) as server:
        with pytest.raises(ModelServerError, match=r"answered 401\. Set LOCAL_MODEL_KEY"):
            await find(server.url)
        with pytest.raises(ModelServerError, match=r"answered 401\. Correct LOCAL_MODEL_KEY"):
            await find(server.url, "sk-1")
    assert server.requests[1][1]["authorization"] == "bearer sk-1"


CHOICES = [
    ("gemma3:4b", "gemma3:4b"),
    ("mistral", "mistral:latest"),
]


@pytest.mark.parametrize(("name", "chosen"), CHOICES)
async def test_a_model_is_taken_by_its_name(name: str, chosen: str) -> None:
    models = (GEMMA, QWEN, ServedModel("mistral:latest"))
    assert Found(KINDS[0], "http://h/v1", models).choose(name).name == chosen


@pytest.mark.parametrize(
    ("kind", "models", "name", "sentence"),
    [
        (0, [QWEN], "phi4", "Ollama at U has no model 'phi4'; its models: qwen3:4b. Get it with"),
        (0, [QWEN], "phi4", "`ollama pull phi4`."),
        (1, [QWEN], "phi4", "llama.cpp at U has no model 'phi4'; its models: qwen3:4b."),
        (0, [], "", "Ollama at U has no model that chats: get one with `ollama pull MODEL`."),
        (2, [], "", "vLLM at U has no model that chats."),
        (3, [], "a", "its models: none. Get it with `lms get a`."),
    ],
)
def test_a_model_that_is_not_there_is_named_with_what_is(
    kind: int, models: list[ServedModel], name: str, sentence: str
) -> None:
    with pytest.raises(ModelServerError) as raised:
        Found(KINDS[kind], "U", tuple(models)).choose(name)
    assert sentence in str(raised.value)


async def on_usual_port(kind: Kind, bodies: dict[str, bytes]) -> list[str]:
    """The offers where `kind` has its usual port on a free one, and the others on closed ones."""
    async with recorded.server({}) as gone:
        closed = int(gone.url.rpartition(":")[2])
    async with recorded.server(bodies) as server:
        port = int(server.url.rpartition(":")[2])
        kinds = [dataclasses.replace(k, port=port if k is kind else closed) for k in KINDS]
        lines = await offers("make run LOCAL_MODEL={}", kinds)
        assert all(
            target.startswith(("/v1/", "/api/", "/props")) for target, _, _ in server.requests
        )
        assert all(body is None for body in server.bodies), "a look changes nothing"
        return [line.replace(str(port), "PORT") for line in lines]


OFFERS = [
    (0, recorded.OLLAMA, "Ollama is running with qwen3:4b: make run LOCAL_MODEL=ollama"),
    (1, recorded.LLAMA_CPP, "llama.cpp is running with SmolLM2: make run LOCAL_MODEL=llama.cpp"),
    (2, recorded.VLLM, "vLLM is running with Qwen/Qwen3-4B: make run LOCAL_MODEL=vllm"),
    (3, recorded.LM_STUDIO, "LM Studio is running with qwen3-4b: make run LOCAL_MODEL=lmstudio"),
    (
        2,
        recorded.LLAMA_CPP,
        "llama.cpp is running with SmolLM2: make run LOCAL_MODEL=http://127.0.0.1:PORT/v1",
    ),
    (
        2,
        recorded.HOSTED,
        "A model server is running with big-1: make run LOCAL_MODEL=http://127.0.0.1:PORT/v1",
    ),
]


@pytest.mark.parametrize(("kind", "bodies", "line"), OFFERS)
async def test_what_runs_on_a_usual_port_is_offered_by_name(
    kind: int, bodies: dict[str, bytes], line: str
) -> None:
    assert await on_usual_port(KINDS[kind], bodies) == [line]


async def test_a_server_without_a_model_is_named_with_the_way_to_one() -> None:
    [line] = await on_usual_port(KINDS[3], {"/v1/models": b'{"data": []}'})
    assert line.startswith("LM Studio at http://127.0.0.1:PORT/v1 has no model that chats: get one")


async def test_nothing_is_offered_where_nothing_listens_or_nothing_answers() -> None:
    async with raw_server(b"") as silent:
        silent.hold = asyncio.Event()
        port = int(silent.url.rpartition(":")[2])
        kinds = [dataclasses.replace(KINDS[0], port=port)]
        began = asyncio.get_running_loop().time()
        assert await offers("{}", kinds, timeout_s=0.05) == []
        assert asyncio.get_running_loop().time() - began < 2, "bounded, whatever listens"
    assert await offers("{}", kinds) == []
