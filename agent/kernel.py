"""The kernel of one request: the shared model service, this request's code interpreter.

Building it costs half a millisecond because everything slow is in the service. All that the agent
uses of Semantic Kernel's chat side is imported here, once, without the parts it never uses.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Self
from urllib.parse import quote, urlencode

import httpx2
from pydantic import ValidationError

from agent.code_interpreter import CodeInterpreter
from agent.lean_imports import lean_imports

with lean_imports():
    from openai import AsyncOpenAI, AsyncStream, BaseModel
    from openai.types.chat import ChatCompletion, ChatCompletionChunk
    from semantic_kernel import Kernel
    from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
    from semantic_kernel.connectors.ai.open_ai import (
        OpenAIChatCompletion,
        OpenAIChatPromptExecutionSettings,
    )
    from semantic_kernel.contents import (
        AuthorRole,
        ChatHistory,
        ChatMessageContent,
        FunctionCallContent,
        FunctionResultContent,
        StreamingChatMessageContent,
        TextContent,
    )
    from semantic_kernel.exceptions import ServiceResponseException

__all__ = [
    "AuthorRole",
    "ChatHistory",
    "ChatMessageContent",
    "Deployment",
    "FunctionCallContent",
    "FunctionChoiceBehavior",
    "FunctionResultContent",
    "Kernel",
    "ModelSettings",
    "OpenAIChatCompletion",
    "ServiceResponseException",
    "StreamingChatMessageContent",
    "TextContent",
    "build_kernel",
    "chat_service",
]

PLUGIN = "python"


class _Validated(BaseModel):
    """What the model answers, read by pydantic alone.

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
        api_version: of Azure OpenAI's REST API.
    """

    endpoint: str
    name: str
    api_version: str

    @property
    def url(self) -> str:
        """Where its operations are."""
        return f"{self.endpoint}/openai/deployments/{quote(self.name, safe='')}"


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
    client = AsyncOpenAI(base_url=deployment.url, api_key=token, http_client=http)
    url = f"{deployment.url}/chat/completions?{urlencode({'api-version': deployment.api_version})}"
    # A cached property: what is put there stays. The resource of that name is not even imported.
    client.chat = SimpleNamespace(completions=_Completions(client, url))  # type: ignore[misc, assignment]
    return OpenAIChatCompletion(ai_model_id=deployment.name, async_client=client)


def build_kernel(service: OpenAIChatCompletion, interpreter: CodeInterpreter | None) -> Kernel:
    """The kernel of one request; without an interpreter the model has no tool."""
    kernel = Kernel(services=service)
    if interpreter is not None:
        # add_plugin would look through all members of the object.
        kernel.add_function(PLUGIN, interpreter.execute_python)
    return kernel
