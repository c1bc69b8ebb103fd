"""Asks a server for its models: each kind lists them in a way of its own.

Nothing here trusts what answers: anything may listen on a usual port.
"""

import asyncio
import contextlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from local.model_servers.errors import ModelServerError
from local.model_servers.kinds import (
    KINDS,
    LLAMA_CPP,
    LM_STUDIO,
    OLLAMA,
    OTHER,
    Kind,
    kind_of,
)

_TIMEOUT_S: Final = 5
_MAX_BYTES: Final = 4_000_000
_NAME_MAX_CHARS: Final = 200


@dataclass(frozen=True)
class ServedModel:
    """A model as its server lists it.

    Attributes:
        name: what a request calls it.
        context_tokens: what a request and its answer may have; None where the server does not say.
        tools: whether it is made to call tools; None where the server does not say.
        loaded: whether it is in memory.
        chats: False for a model that only embeds.
    """

    name: str
    context_tokens: int | None = None
    tools: bool | None = None
    loaded: bool = False
    chats: bool = True


@dataclass(frozen=True)
class Found:
    """A server that answered.

    Attributes:
        kind: which program it is.
        url: base URL of its OpenAI-compatible API.
        models: those that chat, in the server's order.
    """

    kind: Kind
    url: str
    models: tuple[ServedModel, ...]

    def choose(self, name: str = "") -> ServedModel:
        """The model of this name; without one, the first that is ready: tools first, then loaded.

        Raises:
            ModelServerError: there is no such model, or none at all.
        """
        where, get = f"{self.kind.title} at {self.url}", self.kind.get
        if name:
            # Ollama's `qwen3` is `qwen3:latest`.
            for model in self.models:
                if model.name in (name, f"{name}:latest"):
                    return model
            if self.kind.name == OTHER.name:  # a hosted service may have more than it lists
                return ServedModel(name)
            there = ", ".join(model.name for model in self.models[:8]) or "none"
            mend = f" Get it with `{get.format(model=name)}`." if get else ""
            raise ModelServerError(f"{where} has no model {name!r}; its models: {there}.{mend}")
        if not self.models:
            mend = f": get one with `{get.format(model='MODEL')}`" if get else ""
            raise ModelServerError(f"{where} has no model that chats{mend}.")
        return min(self.models, key=lambda m: (m.tools is False, not m.loaded, m.tools is None))


async def find(url: str, key: str | None = None, kinds: Sequence[Kind] = KINDS) -> Found | None:
    """The server at `url`, with or without /v1; None if nothing there lists models.

    Args:
        url: of the server.
        key: its bearer token, if it wants one.
        kinds: which it may be.

    Raises:
        ModelServerError: it refuses this key, or wants one.
    """
    root = url.rstrip("/").removesuffix("/chat/completions").removesuffix("/v1")
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    with contextlib.suppress(TimeoutError, httpx2.HTTPError, httpx2.InvalidURL):
        async with (
            asyncio.timeout(_TIMEOUT_S),
            httpx2.AsyncClient(
                timeout=None,
                trust_env=False,
                headers=headers,
                # Plain http needs no certificates, which take long to load.
                verify=url.startswith("https:"),
            ) as client,
        ):
            status, listed = await _get(client, f"{root}/v1/models")
            if status in (401, 403):
                mend = "Correct LOCAL_MODEL_KEY." if key else "Set LOCAL_MODEL_KEY to its key."
                raise ModelServerError(f"The model server at {root} answered {status}. {mend}")
            if not isinstance(listed, dict) or "data" not in listed:
                return None
            entries = _entries(listed, "data")
            owner = entries[0].get("owned_by") if entries else None
            kind = kind_of(owner, urlsplit(url).port, kinds)
            models = await _models(client, kind, root, entries)
            return Found(kind, f"{root}/v1", tuple(m for m in models if m.name and m.chats))
    return None


async def running(kinds: Sequence[Kind] = KINDS) -> list[Found]:
    """The servers on their usual ports of loopback, all asked side by side.

    A port on which nothing listens costs one refused connection.
    """

    async def at(port: int) -> Found | None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return None
        writer.close()
        with contextlib.suppress(ModelServerError):
            return await find(f"http://127.0.0.1:{port}", kinds=kinds)
        return None

    return [f for f in await asyncio.gather(*(at(kind.port) for kind in kinds)) if f]


async def _models(
    client: httpx2.AsyncClient, kind: Kind, root: str, entries: list[dict[str, Any]]
) -> Iterable[ServedModel]:
    if kind.name == OLLAMA.name:
        (_, tags), (_, loaded) = await asyncio.gather(
            _get(client, f"{root}/api/tags"), _get(client, f"{root}/api/ps")
        )
        return _of_ollama(_entries(tags, "models"), _entries(loaded, "models"))
    if kind.name == LM_STUDIO.name:
        # Since 0.3.6; the OpenAI-compatible list has names alone.
        _, own = await _get(client, f"{root}/api/v0/models")
        return map(_of_lm_studio, _entries(own, "data") or entries)
    if kind.name == LLAMA_CPP.name and len(entries) == 1:
        _, props = await _get(client, f"{root}/props")
        return [_of_llama_cpp(entries[0], props if isinstance(props, dict) else {})]
    return map(_of_other, entries)


def _of_ollama(tags: list[dict[str, Any]], loaded: list[dict[str, Any]]) -> Iterable[ServedModel]:
    contexts = {_name(one, "name"): _tokens(one.get("context_length")) for one in loaded}
    for one in tags:
        name, skills = _name(one, "name"), one.get("capabilities")
        if isinstance(skills, list):
            tools, chats = "tools" in skills, "completion" in skills
        else:  # before 0.20 the list does not say
            tools, chats = None, "embed" not in name
        yield ServedModel(name, contexts.get(name), tools, name in contexts, chats)


def _of_lm_studio(one: dict[str, Any]) -> ServedModel:
    name, skills = _name(one, "id"), one.get("capabilities")
    return ServedModel(
        name,
        _tokens(one.get("loaded_context_length")),
        "tool_use" in skills if isinstance(skills, list) else None,
        one.get("state") == "loaded",
        one.get("type") != "embeddings" and not name.startswith("text-embedding-"),
    )


def _of_llama_cpp(one: dict[str, Any], props: dict[str, Any]) -> ServedModel:
    defaults, skills = props.get("default_generation_settings"), props.get("chat_template_caps")
    context = defaults.get("n_ctx") if isinstance(defaults, dict) else None
    tools = skills.get("supports_tools") if isinstance(skills, dict) else None
    return ServedModel(
        _name(one, "id"), _tokens(context), tools if isinstance(tools, bool) else None, loaded=True
    )


def _of_other(one: dict[str, Any]) -> ServedModel:
    status = one.get("status")  # llama.cpp with several models
    loaded = isinstance(status, dict) and status.get("value") == "loaded"
    return ServedModel(_name(one, "id"), _tokens(one.get("max_model_len")), loaded=loaded)


async def _get(client: httpx2.AsyncClient, url: str) -> tuple[int, object]:
    """The status, and the JSON of a 200; None if there is none, or far too much."""
    content = b""
    async with client.stream("GET", url) as response:
        async for piece in response.aiter_bytes():
            content += piece
            if len(content) > _MAX_BYTES:
                break
    value = None
    if response.status_code == 200 and len(content) <= _MAX_BYTES:
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(content)
    return response.status_code, value


def _entries(value: object, name: str) -> list[dict[str, Any]]:
    """The objects of a list in an answer; Ollama's is null when it has no model."""
    entries = value.get(name) if isinstance(value, dict) else None
    return [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []


def _name(entry: dict[str, Any], key: str) -> str:
    """A name that may be printed on a terminal; empty if it may not."""
    name = entry.get(key)
    fits = isinstance(name, str) and name.isprintable() and len(name) <= _NAME_MAX_CHARS
    return name if isinstance(name, str) and fits else ""


def _tokens(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
