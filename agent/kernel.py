"""The kernel of one request: the shared model service, this request's code interpreter.

Building it costs half a millisecond because everything slow is in the service. All that the agent
uses of Semantic Kernel's chat side is imported here, once, without the parts it never uses.
"""

from collections.abc import AsyncIterator
from typing import Any, Self

from pydantic import ValidationError

from agent.code_interpreter import CodeInterpreter
from agent.lean_imports import lean_imports

with lean_imports():
    from openai import AsyncAzureOpenAI, AsyncStream
    from openai.resources.chat.completions import AsyncCompletions
    from openai.types.chat import ChatCompletionChunk
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
    "FunctionCallContent",
    "FunctionChoiceBehavior",
    "FunctionResultContent",
    "Kernel",
    "OpenAIChatCompletion",
    "OpenAIChatPromptExecutionSettings",
    "ServiceResponseException",
    "StreamingChatMessageContent",
    "TextContent",
    "build_kernel",
    "chat_service",
]

PLUGIN = "python"


class _Chunk(ChatCompletionChunk):
    """A piece of a stream.

    The client would walk each along its type hints, in Python and for most of the time that a piece
    costs; pydantic does the same on its own.
    """

    @classmethod
    def build(cls, *, response: Any, data: dict[str, Any]) -> Self:
        """Called by the client, which looks for a method of this name."""
        try:
            return cls.model_validate(data)
        except ValidationError:
            # Azure OpenAI leaves out or empties fields that the specification requires.
            return cls.construct(**data)


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


class _Completions(AsyncCompletions):
    """Sends the request as it is.

    Semantic Kernel gives it in the wire format already; the client would walk all of it along its
    type hints once more, which is a fifth of a turn's CPU and grows with the history.
    """

    # The signature of the base class has forty parameters and six overloads.
    async def create(self, **body: Any) -> Any:
        return await self._post(
            "/chat/completions", body=body, cast_to=_Chunk, stream=True, stream_cls=_Chunks
        )


def chat_service(client: AsyncAzureOpenAI, deployment: str) -> OpenAIChatCompletion:
    """The model as Semantic Kernel's chat completion service; one per worker.

    Semantic Kernel's own Azure connector would read .env and refuse an http:// endpoint on
    loopback; this one takes the client as it is.
    """
    # A cached property: the resource stays where it is put.
    client.chat.completions = _Completions(client)  # type: ignore[misc]
    return OpenAIChatCompletion(ai_model_id=deployment, async_client=client)


def build_kernel(service: OpenAIChatCompletion, interpreter: CodeInterpreter | None) -> Kernel:
    """The kernel of one request; without an interpreter the model has no tool."""
    kernel = Kernel(services=service)
    if interpreter is not None:
        # add_plugin would look through all members of the object.
        kernel.add_function(PLUGIN, interpreter.execute_python)
    return kernel
