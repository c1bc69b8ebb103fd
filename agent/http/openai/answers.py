"""OpenAI's chat completions: requests into turns, turns into completions and chunks.

The caller's messages are the conversation, and nothing of it is stored. The agent's tools run here;
the caller sees what they made: figures and small files are in the answer as Markdown with data:
URLs, which are taken out again when the caller sends the answer back as history.
"""

import re
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain

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
from agent.http.bodies import check_history, check_length, validated
from agent.http.openai.schemas import (
    OTHER_PARTS,
    UNSUPPORTED,
    Chunk,
    ChunkChoice,
    Completion,
    CompletionAssistantMessage,
    CompletionChoice,
    CompletionImagePart,
    CompletionInstructionMessage,
    CompletionMessage,
    CompletionRequest,
    CompletionTextPart,
    CompletionUsage,
    CompletionUserMessage,
    Content,
    Delta,
    Error,
    ErrorEnvelope,
    ErrorType,
    FinishReason,
    Model,
    ModelList,
    UserContent,
)
from agent.http.pictures import Found, line_of, of_history, of_question, picture_at
from agent.http.problems import invalid
from agent.messages import Message
from agent.model.parameters import ModelParameters
from agent.turns.result import TurnEvents, TurnResult, collect
from agent.turns.turn import TurnRequest

# What OpenAI's clients know these by.
_OPENAI_CODES: dict[type[AgentError], str] = {
    ContentFilteredError: "content_filter",
    ContextTooLongError: "context_length_exceeded",
    ModelNotServedError: "model_not_found",
    ModelThrottledError: "rate_limit_exceeded",
}
# A link from behind its name on, which is found fast in text that has none; and the name before
# it: it begins at a bracket that nothing escapes and has no other such bracket. Each attempt ends
# where the next may begin, so time grows with the text, whatever a caller sends.
_CONTENT = re.compile(r"\]\(data:[^()\s]*+\)")
_NAME_BEFORE = re.compile(r"!?(?<!\\)\[((?:[^\[\]\\]|\\.)*+)\Z", re.DOTALL)
# A file's name has 255 bytes, its brackets and backslashes escaped.
_NAME_MAX_CHARS = 600


def read_completion(body: bytes | bytearray) -> CompletionRequest:
    """The body of a request.

    Raises:
        InvalidRequestError: it is no such request, or asks for what the agent does not do.
    """
    try:
        return validated(CompletionRequest, body)
    except ValidationError as error:
        raise _refusal(error) from None


def turn_request(
    completion: CompletionRequest, model: str, max_chars: int, conversation_id: str | None = None
) -> TurnRequest:
    """The turn that a completion asks for.

    Args:
        completion: the request's body.
        model: the agent's.
        max_chars: the longest last message.
        conversation_id: whose files may be shown.

    Raises:
        InvalidRequestError: the last message is not a question, or a picture is none.
        ModelNotServedError: it is for another model.
        PayloadTooLargeError: the last message or the conversation is too long.
    """
    if completion.model != model:
        raise ModelNotServedError(f"`model` must be `{model}`.", field="model")
    shown = [
        [*_pictures_of(message.content, n, conversation_id)]
        if isinstance(message, CompletionUserMessage)
        else []
        for n, message in enumerate(completion.messages)
    ]
    question = completion.messages[-1]
    asked = isinstance(question, CompletionUserMessage) and (
        _text(question.content).strip() or shown[-1]
    )
    if not isinstance(question, CompletionUserMessage) or not asked:
        raise InvalidRequestError(
            "The last message must be the user's, and not empty.", field="messages"
        )
    found = of_question(shown[-1], f"messages.{len(shown) - 1}.content")
    text = _text(question.content)
    check_length(text, max_chars, "messages")
    instructions = [
        _text(message.content)
        for message in completion.messages
        if isinstance(message, CompletionInstructionMessage)
    ]
    turn = TurnRequest(
        question=text,
        history=tuple(_messages(completion.messages[:-1], shown)),
        pictures=found.pictures,
        earlier_pictures=of_history([*chain(*shown[:-1])]),
        looks_at=found.files,
        to_fetch=found.addresses,
        instructions="\n\n".join(instructions),
        stream=bool(completion.stream),
        parameters=_parameters(completion),
    )
    check_history(turn)
    return turn


def _parameters(completion: CompletionRequest) -> ModelParameters:
    stop = completion.stop
    return ModelParameters(
        temperature=completion.temperature,
        top_p=completion.top_p,
        max_completion_tokens=completion.max_completion_tokens or completion.max_tokens,
        seed=completion.seed,
        stop=(stop,) if isinstance(stop, str) else tuple(stop) if stop else None,
    )


def _messages(
    messages: Sequence[
        CompletionUserMessage | CompletionAssistantMessage | CompletionInstructionMessage
    ],
    shown: Sequence[Sequence[Found]],
) -> Iterator[Message]:
    for message, pictures in zip(messages, shown, strict=False):
        match message:
            case CompletionUserMessage():
                lines = [_text(message.content), *map(line_of, pictures)]
                yield Message("user", "\n".join(lines))
            case CompletionAssistantMessage(content=content) if content:
                yield Message("assistant", _without_contents(_text(content)))


def _without_contents(text: str) -> str:
    """The text with each data: URL replaced by a note that the user saw its content."""
    parts, end = [], 0
    for link in _CONTENT.finditer(text):
        start = max(end, link.start() - _NAME_MAX_CHARS)
        if name := _NAME_BEFORE.search(text[start : link.start()]):
            parts += [text[end : start + name.start()], f"[{name[1]}, shown to the user]"]
        else:
            parts.append(text[end : link.end()])
        end = link.end()
    return "".join([*parts, text[end:]])


def _text(content: Content | UserContent) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.text for part in content if isinstance(part, CompletionTextPart))


def _pictures_of(content: UserContent, number: int, conversation_id: str | None) -> Iterator[Found]:
    for n, part in enumerate(() if isinstance(content, str) else content):
        if isinstance(part, CompletionImagePart):
            field = f"messages.{number}.content.{n}.image_url.url"
            yield picture_at(part.image_url.url, field, part.image_url.detail, conversation_id)


def _refusal(error: ValidationError) -> AgentError:
    fault = error.errors(include_url=False, include_context=False)[0]
    parameter, last, given = fault["loc"][:1], fault["loc"][-1:], fault["input"]
    if fault["type"] == "union_tag_invalid" and isinstance(given, dict):
        last, given = ("type",), given.get("type")
    if parameter == ("messages",) and last == ("type",):
        reason = OTHER_PARTS.get(given) if isinstance(given, str) else None
        if reason:
            name = f"messages.{fault['loc'][1]}.content"
            return InvalidRequestError(f"`{name}`: {reason}", field=name)
    if parameter and (reason := UNSUPPORTED.get(str(parameter[0]))):
        name = str(parameter[0])
        return InvalidRequestError(f"`{name}`: this value is not supported: {reason}.", field=name)
    return invalid(error)


def models(model: str) -> ModelList:
    """The models that a caller may name."""
    return ModelList(data=[Model(id=model)])


def model_named(name: str, model: str) -> Model:
    """The model of that name.

    Raises:
        ModelNotServedError: it is not the agent's.
    """
    if name != model:
        raise ModelNotServedError(f"The model is `{model}`; there is no other.", field="model")
    return Model(id=model)


def _markdown(part: str | File) -> str:
    if isinstance(part, str):
        return part
    name = re.sub(r"([\\\[\]])", r"\\\1", part.name)
    return f"{'!' if part.media_type.startswith('image/') else ''}[{name}]({part.url})"


async def complete(events: TurnEvents, model: str) -> Completion:
    """Run the turn to its end.

    Raises:
        AgentError: it has no answer.
    """
    result = await collect(events)
    message = CompletionMessage(content="\n\n".join(map(_markdown, result.parts)))
    finish_reason = _finish_reason(result.finish_reason)
    return Completion(
        id=_new_id(),
        created=_now(),
        model=model,
        choices=[CompletionChoice(message=message, finish_reason=finish_reason)],
        usage=_usage(result),
    )


class ChunkEncoder:
    """Makes chunks of one turn's events.

    Args:
        model: the agent's.
        include_usage: whether a last chunk has the tokens, and the others a null.
    """

    def __init__(self, model: str, *, include_usage: bool) -> None:
        self._chunk = Chunk(
            id=_new_id(), object="chat.completion.chunk", created=_now(), model=model, choices=[]
        )
        if include_usage:
            self._chunk.usage = None  # set, so that it is sent as null
        self._include_usage = include_usage
        self._last_part: str | None = None

    def begin(self) -> bytes:
        """The role."""
        return self._piece(Delta(role="assistant", content=""))

    def encode(self, event: Event) -> bytes:
        """The chunks that one event amounts to."""
        match event:
            case TurnFinished():
                return self._finish(event)
            case TurnFailed(error=error):
                return _event(envelope(error))
            case TextDelta(message_id=message_id, text=text):
                return self._part(message_id, text)
            case FileCreated(file=file):
                return self._part(f"file {file.name}", _markdown(file))
        return b""

    def _part(self, part: str, text: str) -> bytes:
        """Some more text; the parts of the answer stand apart, as they do in a completion."""
        before, self._last_part = self._last_part, part
        separator = "" if before in (None, part) else "\n\n"
        return self._piece(Delta(content=separator + text))

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
    """An error as a response's body."""
    return envelope(error).model_dump_json(), "application/json"


def _finish_reason(reason: TurnFinishReason) -> FinishReason:
    match reason:
        case "length" | "content_filter":
            return reason
    return "stop"


def _usage(turn: TurnFinished | TurnResult) -> CompletionUsage:
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
    # A field that was never set is left out; `finish_reason: null` is set.
    return b"data: " + schema.model_dump_json(exclude_unset=True).encode() + b"\n\n"
