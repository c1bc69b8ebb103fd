"""One call of the model: the history in, typed pieces of its message out, in our errors."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from agent.errors import (
    AgentError,
    DeadlineExceededError,
    ModelFailedError,
    ModelUnreachableError,
)
from agent.events import Usage
from agent.model.parameters import ModelParameters
from agent.model.refusals import Refusal, retry_after_s
from agent.model.sdk import (
    AuthorRole,
    ChatHistory,
    ChatMessageContent,
    FunctionCallContent,
    FunctionChoiceBehavior,
    Kernel,
    OpenAIChatCompletion,
    ServiceResponseException,
    TextContent,
    openai,
)
from agent.model.service import ModelSettings


@dataclass(slots=True)
class ModelMessage:
    """The model's reply to one call; filled while it streams.

    Attributes:
        texts: its text, in the pieces in which it came.
        calls: the tools it wants called, in order.
        finish_reason: Azure OpenAI's: `stop`, `length`, `tool_calls` or `content_filter`.
        usage: tokens of this call.
    """

    texts: list[str] = field(default_factory=list)
    calls: list[FunctionCallContent] = field(default_factory=list)
    finish_reason: str = "stop"
    usage: Usage = field(default_factory=Usage)

    @property
    def text(self) -> str:
        """Its text, whole."""
        return "".join(self.texts)

    def as_history(self) -> ChatMessageContent:
        """The message as the next call must see it."""
        items: list[Any] = list(self.calls)
        if self.texts:
            items.insert(0, TextContent(text=self.text))
        return ChatMessageContent(role=AuthorRole.ASSISTANT, items=items)

    def add(self, piece: ChatMessageContent) -> str:
        """Take one piece of the stream, or all of it; the value is the text it brought."""
        if piece.finish_reason is not None:
            self.finish_reason = piece.finish_reason.value
        if usage := piece.metadata.get("usage"):
            self.usage += Usage(usage.prompt_tokens or 0, usage.completion_tokens or 0)
        text = ""
        for item in piece.items:
            if isinstance(item, FunctionCallContent):
                self._add_call(item)
            elif piece_text := getattr(item, "text", None):
                text += piece_text
        if text:
            self.texts.append(text)
        return text

    def _add_call(self, piece: FunctionCallContent) -> None:
        # Pieces of one call share its index; only the first has its id and name.
        if self.calls and piece.index == self.calls[-1].index and not piece.id:
            self.calls[-1] = self.calls[-1] + piece
        else:
            self.calls.append(piece)


async def ask(
    service: OpenAIChatCompletion,
    kernel: Kernel,
    history: ChatHistory,
    message: ModelMessage,
    *,
    parameters: ModelParameters,
    tools: bool,
    stream: bool,
    deadline: float,
) -> AsyncGenerator[str]:
    """Call the model and yield its text as it comes; `message` then holds all of it.

    Args:
        service: the model.
        kernel: whose functions are the tools.
        history: what was said so far.
        message: an empty one, to be filled.
        parameters: what the model is asked for.
        tools: whether the model may call tools.
        stream: whether the text is wanted as it comes; whole, it costs less CPU.
        deadline: event-loop time.

    Raises:
        ModelError: by what went wrong.
        DeadlineExceededError: the deadline came first.
    """
    settings = ModelSettings(
        # The turn calls the tools itself: one after the other, with its own budget.
        function_choice_behavior=FunctionChoiceBehavior.Auto(auto_invoke=False) if tools else None,
        **parameters.as_fields(),
    )
    answer = _in_pieces if stream else _whole
    with _as_model_errors():
        async with aclosing(answer(service, kernel, history, settings, deadline)) as pieces:
            async for piece in pieces:
                if text := message.add(piece):
                    yield text


async def _in_pieces(
    service: OpenAIChatCompletion,
    kernel: Kernel,
    history: ChatHistory,
    settings: ModelSettings,
    deadline: float,
) -> AsyncGenerator[ChatMessageContent]:
    stream = service.get_streaming_chat_message_contents(history, settings, kernel=kernel)
    async with aclosing(stream):
        while True:
            async with asyncio.timeout_at(deadline):
                pieces = await anext(stream, None)
            if pieces is None:
                return
            for piece in pieces:
                yield piece


async def _whole(
    service: OpenAIChatCompletion,
    kernel: Kernel,
    history: ChatHistory,
    settings: ModelSettings,
    deadline: float,
) -> AsyncGenerator[ChatMessageContent]:
    async with asyncio.timeout_at(deadline):
        messages = await service.get_chat_message_contents(history, settings, kernel=kernel)
    for message in messages:
        yield message


@contextmanager
def _as_model_errors() -> Iterator[None]:
    """Errors of the openai client, most specific first, as ours."""
    try:
        yield
    except TimeoutError as error:
        raise DeadlineExceededError(
            "The model did not answer before the turn's deadline."
        ) from error
    except ServiceResponseException as error:
        # Semantic Kernel wraps what the client raised.
        raise _error_of(error.__cause__ or error) from error
    except (openai.OpenAIError, httpx2.TransportError) as error:
        raise _error_of(error) from error


def _error_of(error: BaseException) -> AgentError:
    match error:
        case AgentError():  # the token provider's
            return error
        case openai.APIStatusError():
            refusal = Refusal.read(error.status_code, error.body)
            return refusal.as_error(retry_after_s(error.response.headers))
        case openai.APIConnectionError() | httpx2.TransportError():
            return ModelUnreachableError("There is no connection to the model, or it broke.")
    return ModelFailedError("The model's answer is not a chat completion.")
