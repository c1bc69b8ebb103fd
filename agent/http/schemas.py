"""The JSON that callers send and receive."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, FailFast, Field, JsonValue, StringConstraints

from agent.events import ExecutionStatus, FinishReason
from agent.turns.result import TurnResult


class ChatRequest(BaseModel):
    """A question."""

    model_config = ConfigDict(extra="forbid", strict=True)

    input: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = Field(
        description="The question, in plain words."
    )
    conversation_id: Annotated[str, StringConstraints(pattern="^(new|[0-9a-f]{32})$")] | None = (
        Field(
            default=None,
            description="`new` starts a conversation, whose id the answer has; an id goes on with "
            "one. Without it the turn is stateless.",
        )
    )

    images: Annotated[list[str], FailFast()] = Field(
        default=[],
        description="Pictures that belong to the question: data: URLs (PNG, JPEG, GIF or WebP), "
        "names of files of the conversation, or https: addresses on hosts that the app allows. A "
        "model that can see is shown them.",
    )


class _Answer(BaseModel):
    # Built when first used: a chat's answer needs half of them.
    model_config = ConfigDict(from_attributes=True, defer_build=True)


class TextOutputSchema(_Answer):
    """A text that a cell showed."""

    type: Literal["text"]
    media_type: str
    text: str


class ImageOutputSchema(_Answer):
    """A figure that a cell showed."""

    type: Literal["image"]
    media_type: str
    file: str = Field(description="Name of its entry in `files`.")


class HtmlOutputSchema(_Answer):
    """A table or a page that a cell showed."""

    type: Literal["html"]
    media_type: str
    text: str = Field(description="The same as plain text; empty if there is no such form.")
    file: str | None = Field(description="Name of its entry in `files`; null: it was too large.")


class ExecutionSchema(_Answer):
    """One run of Python."""

    code: str
    status: ExecutionStatus
    stdout: str
    stderr: str
    result: str | None = Field(description="Value of the last expression, as text.")
    duration_ms: int
    outputs: list[
        Annotated[
            TextOutputSchema | ImageOutputSchema | HtmlOutputSchema, Field(discriminator="type")
        ]
    ] = Field(description="All that it showed, in order, the value of the last expression too.")


class ToolUseSchema(_Answer):
    """One call of a tool of the app's own."""

    name: str
    arguments: dict[str, JsonValue]
    status: ExecutionStatus
    result: str = Field(description="What it returned, as text, or why it failed.")
    duration_ms: int


class FileSchema(_Answer):
    """A figure or a file that an execution made or a tool brought."""

    name: str
    media_type: str
    size_bytes: int
    url: str = Field(description="Address of the content; a data: URL contains it.")


class UsageSchema(_Answer):
    """Tokens of all model calls of the turn."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class WarningSchema(_Answer):
    """Something to know about an answer that was given all the same."""

    code: str
    message: str


class ChatAnswer(_Answer):
    """The answer of one turn."""

    output: str = Field(description="The model's answer.")
    conversation_id: str | None = Field(description="null for a stateless turn.")
    executions: list[ExecutionSchema]
    tool_calls: list[ToolUseSchema]
    files: list[FileSchema]
    usage: UsageSchema
    finish_reason: FinishReason
    warnings: list[WarningSchema]

    @classmethod
    def of(cls, result: TurnResult, conversation_id: str | None) -> Self:
        """The answer for a turn's result."""
        return cls(
            output=result.output,
            conversation_id=conversation_id,
            executions=[ExecutionSchema.model_validate(run) for run in result.executions],
            tool_calls=[ToolUseSchema.model_validate(use) for use in result.tool_calls],
            files=[FileSchema.model_validate(file) for file in result.files],
            usage=UsageSchema.model_validate(result.usage),
            finish_reason=result.finish_reason,
            warnings=[WarningSchema.model_validate(warning) for warning in result.warnings],
        )


class TurnSchema(_Answer):
    """A turn of a conversation, as it was answered."""

    input: str
    output: str
    executions: list[ExecutionSchema]
    tool_calls: list[ToolUseSchema]
    files: list[FileSchema]
    usage: UsageSchema
    finish_reason: FinishReason
    warnings: list[WarningSchema]
    asked_at: datetime
    images: list[str] = Field(description="Files that belonged to the question as pictures.")


class ConversationSchema(_Answer):
    """A conversation."""

    id: str
    created_at: datetime
    turns: list[TurnSchema] = Field(description="The newest ones, oldest first.")
    earlier_turns: int = Field(description="How many there are before these.")


class NewConversationSchema(_Answer):
    """A conversation that has no turns yet."""

    id: str
    created_at: datetime


class ConversationSummarySchema(_Answer):
    """A conversation in a list."""

    id: str
    title: str = Field(description="The first question, shortened; empty before there is one.")
    created_at: datetime
    updated_at: datetime = Field(description="When the last question was asked.")
    turns: int = Field(validation_alias="turn_count", description="How many there are.")


class ConversationListSchema(_Answer):
    """Conversations of the caller, newest first."""

    conversations: list[ConversationSummarySchema]
    next_cursor: str | None = Field(description="For the next page; null: this is the last one.")


class CapabilitiesSchema(_Answer):
    """The app's features, for a front end."""

    model: str = Field(description="The deployment that answers.")
    code_interpreter: bool = Field(description="Whether the model can run Python.")
    conversations: bool = Field(description="Whether conversations are kept.")
    vision: bool = Field(description="Whether the model can be shown pictures.")
    sign_in: bool = Field(description="Whether callers sign in with App Service Authentication.")
    signed_in_as: str | None = Field(
        description="The caller's name from the sign-in; null without sign-in or name."
    )


class ConversationFileSchema(_Answer):
    """A file of a conversation: uploaded, or made by an execution."""

    name: str
    media_type: str
    size_bytes: int
    url: str


class FileListSchema(_Answer):
    """Files of a conversation, by name."""

    files: list[ConversationFileSchema]


class CheckSchema(_Answer):
    """One thing that a turn needs."""

    ok: bool
    code: str | None = Field(default=None, description="What is wrong, as in a problem.")
    detail: str | None = Field(default=None, description="What to do about it.")


class HealthSchema(_Answer):
    """Whether the app can answer questions."""

    status: Literal["alive", "ready", "not ready"]
    checks: dict[str, CheckSchema] = Field(description="Results by the name of the check.")
    tools: list[str] = Field(default=[], description="What the model may call.")


class Problem(BaseModel):
    """An error, as RFC 9457 `application/problem+json`."""

    code: str = Field(description="Stable name, for programs.")
    status: int
    title: str
    detail: str
    operation_id: str = Field(description="Finds this request in the logs.")
    field: str | None = Field(default=None, description="The field of the request that is wrong.")
