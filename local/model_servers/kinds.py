"""The servers that people run on a laptop: how do they differ?

Facts: https://docs.ollama.com/api, https://docs.vllm.ai/en/latest/serving/openai_compatible_server,
https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md,
https://lmstudio.ai/docs/developer/rest/endpoints
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True)
class Kind:
    """One program that serves models.

    Attributes:
        name: what people call it in LOCAL_MODEL; empty for a program that is not known.
        title: its own spelling.
        port: the usual one on loopback.
        owner: what it says in `owned_by` of GET /v1/models.
        owner_varies: whether that may be somebody's name instead.
        start: how it is started.
        get: how it gets a model.
        widen: how its model gets a longer context.
        unthinking: fields of a request by which its models answer without thinking first.
    """

    name: str
    title: str
    port: int = 0
    owner: str = ""
    owner_varies: bool = False
    start: str = "start it"
    get: str = ""
    widen: str = ""
    unthinking: Mapping[str, Any] = field(default_factory=dict)


_CHAT_TEMPLATE: Final = {"chat_template_kwargs": {"enable_thinking": False}}

OLLAMA: Final = Kind(
    "ollama",
    "Ollama",
    11434,
    "library",
    owner_varies=True,  # a model that somebody published has its owner's name
    start="start it with `ollama serve`",
    get="ollama pull {model}",
    widen="OLLAMA_CONTEXT_LENGTH={tokens} ollama serve",
    unthinking={"reasoning_effort": "none"},
)
LLAMA_CPP: Final = Kind(
    "llama.cpp",
    "llama.cpp",
    8080,
    "llamacpp",
    start="start it with `llama-server --jinja -m MODEL.gguf`, or name that file in LOCAL_MODEL",
    widen="llama-server -c {tokens}",
    unthinking=_CHAT_TEMPLATE,
)
VLLM: Final = Kind(
    "vllm",
    "vLLM",
    8000,
    "vllm",
    start="start it with `vllm serve MODEL --enable-auto-tool-choice --tool-call-parser NAME`",
    widen="vllm serve --max-model-len {tokens}",
    unthinking=_CHAT_TEMPLATE,
)
LM_STUDIO: Final = Kind(
    "lmstudio",
    "LM Studio",
    1234,
    "organization_owner",
    owner_varies=True,
    start="start it with `lms server start`",
    get="lms get {model}",
    widen="lms load {model} --context-length {tokens}",
)
KINDS: Final = (OLLAMA, LLAMA_CPP, VLLM, LM_STUDIO)
OTHER: Final = Kind("", "A model server")

_SPELLINGS: Final = {"llamacpp": "llama.cpp", "llama-cpp": "llama.cpp", "lm-studio": "lmstudio"}


def kind_named(name: str) -> Kind | None:
    """The kind that people call so, if any."""
    name = name.lower()
    return next((k for k in KINDS if k.name == _SPELLINGS.get(name, name)), None)


def kind_of(owner: object, port: int | None, kinds: Sequence[Kind] = KINDS) -> Kind:
    """The kind of a server: by what its list of models says, else by its port."""
    by_owner = (kind for kind in kinds if kind.owner == owner)
    by_port = (k for k in kinds if k.port == port and (owner is None or k.owner_varies))
    return next(by_owner, None) or next(by_port, OTHER)
