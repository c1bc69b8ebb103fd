"""The events of a turn: `agent.turns` yields them, `agent.http` encodes them."""

from collections.abc import Mapping
from dataclasses import field
from typing import Literal, Self

from pydantic import JsonValue

from agent.errors import AgentError
from agent.frozen import frozen
from agent.messages import Message

ExecutionStatus = Literal["Succeeded", "Failed"]
# Why the answer ended: the model's own reasons, and the two budgets of the turn.
FinishReason = Literal["stop", "length", "content_filter", "tool_rounds", "deadline"]


@frozen
class TextOutput:
    """A text that a cell showed.

    Attributes:
        media_type: `text/plain`, `text/markdown` or `text/latex`.
        text: the value as text; the middle of one that is too long is left out.
    """

    media_type: str
    text: str
    type: Literal["text"] = "text"


@frozen
class ImageOutput:
    """A figure that a cell showed.

    Attributes:
        media_type: for example `image/png`.
        file: name of its entry among the turn's files.
    """

    media_type: str
    file: str
    type: Literal["image"] = "image"


@frozen
class HtmlOutput:
    """A table or a page that a cell showed.

    Attributes:
        media_type: `text/html`.
        text: the same as plain text, as far as there is such a form.
        file: name of its entry among the turn's files; None if it was too large to bring.
    """

    media_type: str
    text: str
    file: str | None
    type: Literal["html"] = "html"


Output = TextOutput | ImageOutput | HtmlOutput


@frozen
class Execution:
    """One run of Python in the session.

    Attributes:
        code: what the model wrote.
        status: `Failed` when the code raised or ran out of time; the model was told.
        stdout: what it printed, cut by the pool at EXECUTION_OUTPUT_MAX_CHARS.
        stderr: warnings, and the traceback of code that failed.
        result: the value of the last expression as text; None if it has none or is an image.
        duration_ms: as the pool measured it.
        outputs: all that it showed besides, the value of the last expression included, in order.
    """

    code: str
    status: ExecutionStatus
    stdout: str
    stderr: str
    result: str | None
    duration_ms: int
    outputs: tuple[Output, ...] = ()


@frozen
class ToolUse:
    """One call of a tool of the app's own.

    Attributes:
        name: of the tool.
        arguments: by their names.
        status: `Failed` when it raised or ran out of time; the model was told.
        result: what it returned, as text, or why it failed; the middle of a long one is left out.
        duration_ms: from the call to its result.
    """

    name: str
    arguments: Mapping[str, JsonValue]
    status: ExecutionStatus
    result: str
    duration_ms: int


@frozen
class File:
    """Something that the caller gets besides text.

    Attributes:
        name: file name, unique within the turn.
        media_type: for example `image/png`.
        size_bytes: length of the content.
        url: where the content is; a `data:` URL holds it.
    """

    name: str
    media_type: str
    size_bytes: int
    url: str


@frozen
class TurnWarning:
    """Something that the caller should know about an answer that was given all the same."""

    code: str
    message: str


@frozen
class Usage:
    """Tokens of all model calls of the turn, as Azure OpenAI counts them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Both together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


@frozen
class TextDelta:
    """The model wrote some more of the message `message_id`; each model call writes one message."""

    message_id: str
    text: str


@frozen
class ExecutionStarted:
    """The model's code was sent to the session."""

    execution_id: str
    code: str


@frozen
class ExecutionFinished:
    """The session answered."""

    execution_id: str
    execution: Execution


@frozen
class ToolStarted:
    """A tool of the app's own was called; others may be under way."""

    call_id: str
    name: str
    arguments: Mapping[str, JsonValue]


@frozen
class ToolFinished:
    """It has its result."""

    call_id: str
    use: ToolUse


@frozen
class FileCreated:
    """An execution made a figure or a file, or a tool brought one: `execution_id` names either."""

    execution_id: str
    file: File


@frozen
class TurnFinished:
    """The last event of a turn that has an answer.

    Attributes:
        output: all that the model said, its messages apart by an empty line.
        finish_reason: why it ended.
        usage: tokens of all model calls.
        warnings: what the caller should know.
        messages: what the model must read again in the next turn of a conversation.
        session_guid: the session that ran code last; None if there was none.
        may_write: whether code that ran there so far may write files.
    """

    output: str
    finish_reason: FinishReason
    usage: Usage
    warnings: tuple[TurnWarning, ...] = ()
    messages: tuple[Message, ...] = field(default=(), repr=False)
    session_guid: str | None = field(default=None, repr=False)
    may_write: bool = True


@frozen
class TurnFailed:
    """The last event of a turn that has no answer."""

    error: AgentError


Event = (
    TextDelta
    | ExecutionStarted
    | ExecutionFinished
    | ToolStarted
    | ToolFinished
    | FileCreated
    | TurnFinished
    | TurnFailed
)
