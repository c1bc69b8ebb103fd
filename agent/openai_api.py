"""OpenAI's chat completions: the same turn for whoever has an OpenAI client.

The caller's messages are the conversation, and nothing of it is kept. The agent's tools run here;
of them the caller sees what they made: figures and small files are in the answer as Markdown with
data: URLs, which are taken out again when the caller sends the answer back as history.
"""

import re
import secrets
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from agent.errors import (
    AgentError,
    ContentFilteredError,
    ContextTooLongError,
    InvalidRequestError,
    ModelNotServedError,
    ModelThrottledError,
)
from agent.events import Event, File, FileCreated, TextDelta, TurnFailed, TurnFinished
from agent.events import FinishReason as TurnFinishReason
from agent.messages import Message
from agent.openai_schemas import (
    UNSUPPORTED,
    AssistantMessage,
    Chunk,
    ChunkChoice,
    Completion,
    CompletionChoice,
    CompletionMessage,
    CompletionRequest,
    CompletionUsage,
    Content,
    Delta,
    Error,
    ErrorEnvelope,
    ErrorType,
    FinishReason,
    InstructionMessage,
    Model,
    ModelList,
    UserMessage,
)
from agent.web import check_length, invalid

# What OpenAI's clients know these by.
_OPENAI_CODES: dict[type[AgentError], str] = {
    ContentFilteredError: "content_filter",
    ContextTooLongError: "context_length_exceeded",
    ModelNotServedError: "model_not_found",
    ModelThrottledError: "rate_limit_exceeded",
}
_CONTENT_IN_MARKDOWN = re.compile(r"!?\[((?:[^\]\\]|\\.)*)\]\(data:[^()\s]*\)")


@dataclass(frozen=True, slots=True)
class Question:
    """What a caller asks for.

    Attributes:
        text: the last message.
        history: the earlier ones.
        instructions: the system and developer messages.
        stream: whether the answer is to come in chunks.
        include_usage: whether a last chunk is to tell the tokens.
    """

    text: str
    history: tuple[Message, ...]
    instructions: str
    stream: bool
    include_usage: bool


def read_question(body: bytes, model: str, max_chars: int) -> Question:
    """The question in the body of a request.

    Args:
        body: JSON.
        model: the agent's.
        max_chars: the longest last message.

    Raises:
        InvalidRequestError: it is no such request, or asks for what the agent does not do.
        ModelNotServedError: it is for another model.
        PayloadTooLargeError: the last message is too long.
    """
    try:
        given = CompletionRequest.model_validate_json(body)
    except ValidationError as error:
        raise _refusal(error) from None
    if given.model != model:
        raise ModelNotServedError(f"`model` must be `{model}`.", field="model")
    said = tuple(_said(given))
    if not said or said[-1].role != "user" or not said[-1].text.strip():
        raise InvalidRequestError(
            "The last message must be the user's, and not empty.", field="messages"
        )
    check_length(said[-1].text, max_chars, "messages")
    instructions = [_text(m.content) for m in given.messages if isinstance(m, InstructionMessage)]
    return Question(
        text=said[-1].text,
        history=said[:-1],
        instructions="\n\n".join(instructions),
        stream=bool(given.stream),
        include_usage=bool(given.stream_options and given.stream_options.include_usage),
    )


def _said(given: CompletionRequest) -> Iterator[Message]:
    for message in given.messages:
        match message:
            case UserMessage():
                yield Message("user", _text(message.content))
            case AssistantMessage(content=content) if content:
                text = _CONTENT_IN_MARKDOWN.sub(r"[\1, shown to the user]", _text(content))
                yield Message("assistant", text)


def _text(content: Content) -> str:
    return content if isinstance(content, str) else "\n".join(part.text for part in content)


def _refusal(error: ValidationError) -> AgentError:
    parameter = error.errors(include_url=False, include_context=False)[0]["loc"][:1]
    if parameter and (reason := UNSUPPORTED.get(str(parameter[0]))):
        name = str(parameter[0])
        return InvalidRequestError(f"`{name}`: this value is not supported: {reason}.", field=name)
    return invalid(error)


def models(model: str) -> ModelList:
    """What a caller may choose from."""
    return ModelList(data=[Model(id=model)])


class _Answer:
    """Text and files of a turn as one Markdown text, in the order in which they came."""

    def __init__(self) -> None:
        self._last_part: str | None = None

    def part(self, event: Event) -> str:
        """What an event adds."""
        match event:
            case TextDelta(message_id=message_id, text=text):
                return self._separator(message_id) + text
            case FileCreated(file=file):
                return self._separator(f"file {file.name}") + _markdown(file)
        return ""

    def _separator(self, part: str) -> str:
        before, self._last_part = self._last_part, part
        return "" if before in (None, part) else "\n\n"


def _markdown(file: File) -> str:
    name = re.sub(r"([\\\[\]])", r"\\\1", file.name)
    return f"{'!' if file.media_type.startswith('image/') else ''}[{name}]({file.url})"


async def complete(events: AsyncGenerator[Event], model: str) -> Completion:
    """Run the turn to its end.

    Raises:
        AgentError: it has no answer.
    """
    answer, parts = _Answer(), list[str]()
    async with aclosing(events):
        async for event in events:
            parts.append(answer.part(event))
            if isinstance(event, TurnFailed):
                raise event.error
            if isinstance(event, TurnFinished):
                return Completion(
                    id=_new_id(),
                    created=_now(),
                    model=model,
                    choices=[
                        CompletionChoice(
                            message=CompletionMessage(content="".join(parts)),
                            finish_reason=_finish_reason(event.finish_reason),
                        )
                    ],
                    usage=_usage(event),
                )
    raise AssertionError("a turn ends with TurnFinished or TurnFailed")


class ChunkEncoder:
    """Makes chunks of one turn's events.

    Args:
        model: the agent's.
        include_usage: whether a last chunk tells the tokens, and the others that they do not.
    """

    def __init__(self, model: str, *, include_usage: bool) -> None:
        self._chunk = Chunk(
            id=_new_id(), object="chat.completion.chunk", created=_now(), model=model, choices=[]
        )
        if include_usage:
            self._chunk.usage = None  # set, so that it is sent as null
        self._include_usage = include_usage
        self._answer = _Answer()

    def begin(self) -> bytes:
        """Who speaks."""
        return self._piece(Delta(role="assistant", content=""))

    def encode(self, event: Event) -> bytes:
        """The chunks that one event amounts to."""
        match event:
            case TurnFinished():
                return self._finish(event)
            case TurnFailed(error=error):
                return _event(envelope(error))
        part = self._answer.part(event)
        return self._piece(Delta(content=part)) if part else b""

    def _finish(self, turn: TurnFinished) -> bytes:
        chunks = self._piece(Delta(), _finish_reason(turn.finish_reason))
        if self._include_usage:
            update = {"choices": [], "usage": _usage(turn)}
            chunks += _event(self._chunk.model_copy(update=update))
        return chunks + b"data: [DONE]\n\n"

    def _piece(self, delta: Delta, finish_reason: FinishReason | None = None) -> bytes:
        choice = ChunkChoice(index=0, delta=delta, finish_reason=finish_reason)
        return _event(self._chunk.model_copy(update={"choices": [choice]}))


def envelope(error: AgentError) -> ErrorEnvelope:
    """An error as OpenAI's clients read it."""
    return ErrorEnvelope(
        error=Error(
            message=error.detail,
            type=_error_type(error.status),
            param=error.field,
            code=_OPENAI_CODES.get(type(error), error.code),
        )
    )


def _error_type(status: int) -> ErrorType:
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "server_error"


def error_body(_: Request, error: AgentError) -> tuple[str, str]:
    """The same for `web.answer`."""
    return envelope(error).model_dump_json(), "application/json"


def _finish_reason(reason: TurnFinishReason) -> FinishReason:
    match reason:
        case "length" | "content_filter":
            return reason
    return "stop"


def _usage(turn: TurnFinished) -> CompletionUsage:
    return CompletionUsage(
        prompt_tokens=turn.usage.prompt_tokens,
        completion_tokens=turn.usage.completion_tokens,
        total_tokens=turn.usage.total_tokens,
    )


def _new_id() -> str:
    return f"chatcmpl-{secrets.token_hex(16)}"


def _now() -> int:
    return int(datetime.now(UTC).timestamp())


def _event(schema: BaseModel) -> bytes:
    # What was never set is left out; `finish_reason: null` is said.
    return b"data: " + schema.model_dump_json(exclude_unset=True).encode() + b"\n\n"
