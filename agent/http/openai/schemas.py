"""The JSON of OpenAI's chat completions, as far as the agent speaks it.

https://platform.openai.com/docs/api-reference/chat. Parameters that only tune or label an answer
are taken and not used. Those that would make it another answer are listed with the only value that
means the same here; any other is refused, and so is a parameter that is not listed.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, JsonValue

# Nothing but the empty list.
_None = Annotated[list[JsonValue], Field(max_length=0)]


class TextPart(BaseModel):
    """A piece of a message."""

    type: Literal["text"]
    text: str


# Errors beyond the first one would cost more than all else.
type Content = str | Annotated[list[TextPart], FailFast()]


class InstructionMessage(BaseModel):
    """The application's instructions; the model reads them after the agent's own."""

    role: Literal["system", "developer"]
    content: Content


class UserMessage(BaseModel):
    """A message of the user."""

    role: Literal["user"]
    content: Content


class AssistantMessage(BaseModel):
    """An earlier answer of the agent."""

    role: Literal["assistant"]
    content: Content | None = None
    refusal: str | None = None
    tool_calls: _None | None = None
    function_call: None = None


class StreamOptions(BaseModel):
    """Options of a stream."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = Field(default=None, description="Not used.")


class TextFormat(BaseModel):
    """Plain text."""

    type: Literal["text"]


class CompletionRequest(BaseModel):
    """A conversation, whose last message is to be answered."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(description="The model's name, from `GET /api/v1/models`.")
    messages: Annotated[
        list[
            Annotated[
                InstructionMessage | UserMessage | AssistantMessage, Field(discriminator="role")
            ]
        ],
        Field(min_length=1),
        FailFast(),
    ]
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    # Taken, not used.
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    parallel_tool_calls: bool | None = None
    prediction: dict[str, JsonValue] | None = None

    # Only what means the same as their absence.
    n: Literal[1] | None = None
    tools: _None | None = None
    tool_choice: Literal["auto", "none"] | None = None
    functions: _None | None = None
    function_call: Literal["auto", "none"] | None = None
    response_format: TextFormat | None = None
    modalities: list[Literal["text"]] | None = None
    audio: None = None
    logprobs: Literal[False] | None = None
    top_logprobs: None = None
    logit_bias: Annotated[dict[str, JsonValue], Field(max_length=0)] | None = None
    stop: _None | None = None
    web_search_options: None = None


# Why a parameter has only one value.
UNSUPPORTED = {
    "n": "there is one answer to a request",
    "tools": "the agent runs Python itself and no tool of yours",
    "tool_choice": "the agent runs Python itself and no tool of yours",
    "functions": "the agent runs Python itself and no tool of yours",
    "function_call": "the agent runs Python itself and no tool of yours",
    "response_format": "the answer is text",
    "modalities": "the answer is text",
    "audio": "the answer is text",
    "logprobs": "the model's probabilities are not available",
    "top_logprobs": "the model's probabilities are not available",
    "logit_bias": "it would change the answer",
    "stop": "it would change the answer",
    "web_search_options": "the agent has no web search",
}


class CompletionUsage(BaseModel):
    """Tokens of all model calls that the answer took."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


type FinishReason = Literal["stop", "length", "content_filter"]


class CompletionMessage(BaseModel):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str = Field(description="Markdown; a figure is an image with a data: URL.")
    refusal: None = None


class CompletionChoice(BaseModel):
    """The one answer."""

    index: Literal[0] = 0
    message: CompletionMessage
    finish_reason: FinishReason
    logprobs: None = None


class Delta(BaseModel):
    """Some more of the answer."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(BaseModel):
    """Some more of the one answer."""

    index: Literal[0] = 0
    delta: Delta
    finish_reason: FinishReason | None = None
    logprobs: None = None


class Chunk(BaseModel):
    """One event of a streamed answer."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice] = Field(description="None in the chunk that has the usage.")
    usage: CompletionUsage | None = None


class Completion(BaseModel):
    """The answer as a whole."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int = Field(description="Unix time in seconds.")
    model: str
    choices: list[CompletionChoice]
    usage: CompletionUsage


class Model(BaseModel):
    """The deployment that the agent uses."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(default=0, description="0: not known.")
    owned_by: str = "azure-openai"


class ModelList(BaseModel):
    """The models that a request can name in `model`."""

    object: Literal["list"] = "list"
    data: list[Model]


type ErrorType = Literal["invalid_request_error", "rate_limit_error", "server_error"]


class Error(BaseModel):
    """An error in the form that OpenAI's clients read."""

    message: str
    type: ErrorType
    param: str | None = Field(description="The field of the request that is wrong.")
    code: str = Field(description="Stable name, for programs.")


class ErrorEnvelope(BaseModel):
    """An error."""

    error: Error
