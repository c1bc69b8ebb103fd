"""The model as Semantic Kernel's chat completion service: one per worker, out of openai's client.

What the two libraries do twice is done once here: a turn costs half the CPU time.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final, Self
from urllib.parse import quote, urlencode

import httpx2
from pydantic import ValidationError

from agent.model.refusals import retry_after_s
from agent.model.sdk import (
    AsyncOpenAI,
    AsyncStream,
    ChatCompletion,
    ChatCompletionChunk,
    OpenAIChatCompletion,
    OpenAIChatPromptExecutionSettings,
    OpenAIModel,
)

V1: Final = "v1"
# A longer Retry-After is the caller's to wait for.
RETRY_WAIT_MAX_S: Final = 5


class _Validated(OpenAIModel):
    """The model's answer, parsed by pydantic alone.

    The client would walk it along its type hints in Python, which is most of the time that a piece
    of a stream costs.
    """

    @classmethod
    def build(cls, *, response: Any, data: dict[str, Any]) -> Self:
        """Called by the client, which looks for a method of this name."""
        try:
            return cls.model_validate(data)
        except ValidationError:
            # Azure OpenAI leaves out or empties fields that the specification requires.
            return cls.construct(**data)


class _Completion(_Validated, ChatCompletion):
    pass


class _Chunk(_Validated, ChatCompletionChunk):
    pass


class _Chunks(AsyncStream[_Chunk]):
    """The pieces; dropping the iteration closes the connection.

    The client's own iteration and its stream refer to each other: when a caller hangs up, the model
    would go on until a garbage collection.
    """

    async def __aiter__(self) -> AsyncIterator[_Chunk]:
        try:
            async for chunk in self._iterator:
                yield chunk
        finally:
            await self.close()


class _Completions:
    """Sends the request as it is.

    Semantic Kernel gives it in the wire format already; the client would walk all of it along its
    type hints once more, which is a fifth of a turn's CPU and grows with the history.
    """

    def __init__(self, client: AsyncOpenAI, url: str) -> None:
        self._client = client
        self._url = url

    async def create(self, **body: Any) -> Any:
        if not body.get("stream"):
            return await self._client.post(self._url, body=body, cast_to=_Completion)
        return await self._client.post(
            self._url, body=body, cast_to=_Chunk, stream=True, stream_cls=_Chunks
        )


class ModelSettings(OpenAIChatPromptExecutionSettings):
    """The settings of one call of the model."""

    # The service knows which there are; Semantic Kernel knows three.
    reasoning_effort: str | None = None  # type: ignore[assignment]

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # Semantic Kernel copies settings before it changes them. These are made for one call and
        # belong to nobody else: a deep copy would be as much work as the kernel of the request.
        return self.model_copy()


@dataclass(frozen=True, slots=True)
class Deployment:
    """A model at Azure OpenAI.

    Attributes:
        endpoint: of the account.
        name: of the deployment.
        api_version: of Azure OpenAI's REST API; `v1` is the path that has no version, on which the
            deployment is named in the body.
    """

    endpoint: str
    name: str
    api_version: str

    @property
    def url(self) -> str:
        """The base URL of the deployment's operations."""
        if self.api_version == V1:
            return f"{self.endpoint}/openai/v1"
        return f"{self.endpoint}/openai/deployments/{quote(self.name, safe='')}"

    @property
    def chat_url(self) -> str:
        """The URL of chat completions."""
        url = f"{self.url}/chat/completions"
        if self.api_version == V1:
            return url
        return f"{url}?{urlencode({'api-version': self.api_version})}"


class _Client(AsyncOpenAI):
    """The client, which waits for the service only as long as somebody would wait with it."""

    def _should_retry(self, response: httpx2.Response) -> bool:
        # The client itself would sit out two minutes, twice.
        if (retry_after_s(response.headers) or 0) > RETRY_WAIT_MAX_S:
            return False
        return super()._should_retry(response)


def chat_service(
    deployment: Deployment, token: Callable[[], Awaitable[str]], http: httpx2.AsyncClient
) -> OpenAIChatCompletion:
    """The model as Semantic Kernel's chat completion service; one per worker.

    Semantic Kernel's own Azure connector would read .env and refuse an http:// endpoint on
    loopback. The client is not openai's for Azure, which puts the same address together out of five
    parts for each call: a tenth of its CPU time.

    Args:
        deployment: the model.
        token: gives a token for each request.
        http: an open client that outlives the service.
    """
    client = _Client(base_url=deployment.url, api_key=token, http_client=http)
    completions = _Completions(client, deployment.chat_url)
    # A cached property: what is put there stays. The resource of that name is not even imported.
    client.chat = SimpleNamespace(completions=completions)  # type: ignore[misc, assignment]
    return OpenAIChatCompletion(ai_model_id=deployment.name, async_client=client)
