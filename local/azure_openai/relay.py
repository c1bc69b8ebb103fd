"""A real model instead of the stand-in: requests go on to any OpenAI-compatible server.

Ollama, vLLM, llama.cpp and others speak chat completions under a base URL such as
http://127.0.0.1:11434/v1. The caller's token stays here; the server decides what it supports. What
it refuses comes back in one sentence that names the setting to change.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx2
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from local.azure_openai.answers import HangUps, run_until_hung_up
from local.azure_openai.errors import ServiceError

_PATH: Final = "/chat/completions"
# A model on a laptop may think for minutes before its first word; only connecting has a limit.
_TIMEOUT: Final = httpx2.Timeout(None, connect=5)
# Some small models repeat themselves without end; this is a long answer, reasoning included.
MAX_TOKENS: Final = 4096
_QUOTE_MAX_CHARS: Final = 300
_LOADING_RETRY_AFTER_S: Final = 30


class ModelRefused(Exception):
    """A model server did not answer as asked; the message says why, and what to change."""


@dataclass(frozen=True)
class Relay:
    """The address of a real model.

    Attributes:
        url: base URL of the server, with or without /chat/completions.
        name: what the server calls the model.
        key: sent as a bearer token if not None.
        max_tokens: of an answer, where the request has no bound; 0 sends none.
        context_tokens: what a request and its answer may have together, where that is known.
    """

    url: str
    name: str
    key: str | None = None
    max_tokens: int = MAX_TOKENS
    context_tokens: int | None = None

    @property
    def chat_url(self) -> str:
        """The URL of chat completions."""
        return self.url.rstrip("/").removesuffix(_PATH) + _PATH

    def response(
        self, request: Mapping[str, Any], headers: Mapping[str, str], hang_ups: HangUps
    ) -> Response:
        """The server's answer to this request, passed through as it comes."""
        return _Relayed(self, self._body(request), headers, hang_ups)

    async def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The server's whole answer to a request of our own; put a timeout around it.

        Raises:
            ModelRefused: there is none.
        """
        try:
            async with self._sent(self._body(request)) as upstream:
                await upstream.aread()
                if error := _refusal(self, upstream):
                    raise error
                answer = json.loads(upstream.content)
        except ServiceError as error:
            raise ModelRefused(error.error["message"]) from error
        if upstream.status_code >= 400:
            raise ModelRefused(_message(answer))
        return dict(answer)

    @asynccontextmanager
    async def _sent(self, body: Mapping[str, Any]) -> AsyncIterator[httpx2.Response]:
        headers = {} if self.key is None else {"authorization": f"Bearer {self.key}"}
        try:
            async with (
                # Plain http needs no certificates, which take long to load.
                httpx2.AsyncClient(
                    timeout=_TIMEOUT, trust_env=False, verify=self.url.startswith("https:")
                ) as client,
                client.stream("POST", self.chat_url, json=body, headers=headers) as upstream,
            ):
                yield upstream
        except httpx2.HTTPError as error:
            raise ServiceError(
                502,
                "LocalModelUnreachable",
                f"The model server at {self.chat_url} does not answer"
                f" ({type(error).__name__}: {error}). Start it, or correct LOCAL_MODEL.",
                retryable=False,
            ) from error

    def _body(self, request: Mapping[str, Any]) -> dict[str, Any]:
        body = {**request, "model": self.name}
        # Every server knows max_tokens, and not every one its newer name.
        bound = body.pop("max_completion_tokens", None) or body.get("max_tokens")
        if bound := bound or self._own_bound:
            body["max_tokens"] = bound
        return body

    @property
    def _own_bound(self) -> int:
        # vLLM refuses a request whose prompt and bound together are longer than its context, and
        # says that the prompt is too long.
        if self.max_tokens and self.context_tokens:
            return max(1, min(self.max_tokens, self.context_tokens // 4))
        return self.max_tokens

    def __repr__(self) -> str:
        return f"Relay(url={self.url!r}, name={self.name!r})"  # never the key


class _Relayed(Response):
    def __init__(
        self,
        relay: Relay,
        request: Mapping[str, Any],
        headers: Mapping[str, str],
        hang_ups: HangUps,
    ) -> None:
        super().__init__(None, headers=dict(headers))
        self._relay = relay
        self._request = request
        self._hang_ups = hang_ups
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await run_until_hung_up(receive, self._pass_through(send), self._hang_ups)

    async def _pass_through(self, send: Send) -> None:
        try:
            async with self._relay._sent(self._request) as upstream:
                await self._start(upstream, send)
                async for piece in upstream.aiter_bytes():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        except ServiceError:
            if self._started:
                return  # without an end, our caller sees the same cut connection
            raise
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _start(self, upstream: httpx2.Response, send: Send) -> None:
        kind = upstream.headers.get("content-type", "application/octet-stream")
        if upstream.status_code >= 400 or "event-stream" not in kind:
            # All of it is there at once: an answer that was not streamed, or none.
            await upstream.aread()
            if error := _refusal(self._relay, upstream):
                raise error
        self.headers["content-type"] = kind
        del self.headers["content-length"]
        self._started = True
        await send(
            {
                "type": "http.response.start",
                "status": upstream.status_code,
                "headers": self.raw_headers,
            }
        )


def _refusal(relay: Relay, upstream: httpx2.Response) -> ServiceError | None:
    """What is wrong with an answer, in a sentence for the developer; None if it goes on."""
    status = upstream.status_code
    try:
        body = json.loads(upstream.content)
    except ValueError:
        body = None
    said = _message(body) if body is not None else upstream.text.strip()
    quote = " ".join(said[: 4 * _QUOTE_MAX_CHARS].split())[:_QUOTE_MAX_CHARS] or "(empty)"
    answered = f"The model server at {relay.chat_url} answered {status}"
    base = "LOCAL_MODEL must be the base URL of its API, which mostly ends in /v1."
    low = said.lower()
    if body is None and (low.startswith("<") or status == 404):
        page = "a web page" if low.startswith("<") else quote
        return _error(502, "LocalModelUrlWrong", f"{answered}: {page}. {base}")
    if isinstance(body, dict) and status < 400:
        if "error" not in body or "choices" in body:
            return None
        return _error(502, "LocalModelUrlWrong", f"{answered} with an error: {quote}. {base}")
    if status < 400:
        return _error(502, "LocalModelUrlWrong", f"{answered}, no chat completion: {quote}. {base}")
    if status == 404 and "model" in low:
        mend = "Correct LOCAL_MODEL_NAME, or download the model to the server."
        return _error(404, "LocalModelNotFound", f"{answered}: {quote}. {mend}")
    if status in (404, 405):
        return _error(502, "LocalModelUrlWrong", f"{answered}: {quote}. {base}")
    if status in (401, 403):
        mend = "Correct LOCAL_MODEL_KEY." if relay.key else "Set LOCAL_MODEL_KEY to its key."
        return _error(502, "LocalModelKeyRefused", f"{answered}: {quote}. {mend}")
    if status == 503 and "loading" in low:
        error = _error(
            503, "LocalModelLoading", f"{answered}: {quote}. It loads the model: ask again later."
        )
        error.headers = {**error.headers, "retry-after": str(_LOADING_RETRY_AFTER_S)}
        return error
    if status == 400 and "--enable-auto-tool-choice" in low:
        mend = "Start vLLM with these options, or name another model in LOCAL_MODEL_NAME."
        return _error(400, "LocalModelWithoutTools", f"{answered}: {quote}. {mend}")
    if status == 400 and "not support" in low and "tool" in low:
        mend = "Name a model that takes tools in LOCAL_MODEL_NAME."
        return _error(400, "LocalModelWithoutTools", f"{answered}: {quote}. {mend}")
    if body is not None and status < 500:
        return None  # what the server says of the request, in its own envelope
    return _error(502, "LocalModelFailed", f"{answered}: {quote}")


def _error(status: int, code: str, message: str) -> ServiceError:
    return ServiceError(status, code, message.replace("..", "."), retryable=False)


def _message(body: object) -> str:
    """What a JSON error says, in any of the envelopes that servers use."""
    if isinstance(body, dict):
        for name in ("error", "message", "detail"):
            if inner := body.get(name):
                return _message(inner)
    return body if isinstance(body, str) else json.dumps(body)
