"""A real model instead of the stand-in: requests go on to any OpenAI-compatible server.

Ollama, vLLM, llama.cpp and others speak chat completions under a base URL such as
http://127.0.0.1:11434/v1. The caller's token stays here; the server decides what it supports.
"""

from collections.abc import Mapping
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


@dataclass(frozen=True)
class Relay:
    """The address of a real model.

    Attributes:
        url: base URL of the server, with or without /chat/completions (LOCAL_MODEL_URL).
        name: what the server calls the model (LOCAL_MODEL_NAME).
        key: sent as a bearer token if not None (LOCAL_MODEL_KEY).
    """

    url: str
    name: str
    key: str | None = None

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(
                f"LOCAL_MODEL_URL must be an http or https URL such as"
                f" http://127.0.0.1:11434/v1, not {self.url!r}"
            )
        if not self.name:
            raise ValueError("LOCAL_MODEL_NAME must say which model of the server answers")

    @property
    def chat_url(self) -> str:
        """The URL of chat completions."""
        return self.url.rstrip("/").removesuffix(_PATH) + _PATH

    @classmethod
    def from_settings(cls, settings: Mapping[str, str]) -> "Relay | None":
        """The relay that LOCAL_MODEL_URL, LOCAL_MODEL_NAME and LOCAL_MODEL_KEY ask for, if any.

        Raises:
            ValueError: one of the first two is missing or wrong; the message names it.
        """
        url, name = settings.get("LOCAL_MODEL_URL", ""), settings.get("LOCAL_MODEL_NAME", "")
        if not url and not name:
            return None
        return cls(url, name, settings.get("LOCAL_MODEL_KEY") or None)

    def response(
        self, request: Mapping[str, Any], headers: Mapping[str, str], hang_ups: HangUps
    ) -> Response:
        """The server's answer to this request, passed through as it comes."""
        return _Relayed(self, {**request, "model": self.name}, headers, hang_ups)

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
        key = self._relay.key
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        try:
            async with (
                httpx2.AsyncClient(timeout=_TIMEOUT, trust_env=False) as client,
                client.stream(
                    "POST", self._relay.chat_url, json=self._request, headers=headers
                ) as upstream,
            ):
                await self._start(upstream, send)
                async for piece in upstream.aiter_bytes():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        except httpx2.HTTPError as error:
            if self._started:
                return  # without an end, our caller sees the same cut connection
            raise ServiceError(
                502,
                "LocalModelUnreachable",
                f"The model server at {self._relay.chat_url} does not answer"
                f" ({type(error).__name__}: {error}). Start it, or correct LOCAL_MODEL_URL.",
                retryable=False,
            ) from error
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _start(self, upstream: httpx2.Response, send: Send) -> None:
        kind = upstream.headers.get("content-type", "application/octet-stream")
        if upstream.status_code >= 400 and "json" not in kind:
            text = (await upstream.aread())[:500].decode(errors="replace").strip()
            raise ServiceError(
                502,
                "LocalModelFailed",
                f"The model server at {self._relay.chat_url} answered {upstream.status_code}:"
                f" {text or '(empty)'}",
                retryable=False,
            )
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
