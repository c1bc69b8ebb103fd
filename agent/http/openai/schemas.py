"""The JSON of OpenAI's chat completions, as far as the agent speaks it.

https://platform.openai.com/docs/api-reference/chat. What tunes the model goes to the model; other
parameters that only tune or label an answer are taken and not used. Those that would make it
another answer are listed with the only value that means the same here; any other is refused, and so
is a parameter that is not listed.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, FailFast, Field, JsonValue, Tag

from agent.pictures import Detail

# Nothing but the empty list.
_None = Annotated[list[JsonValue], Field(max_length=0)]
_Stop = Annotated[str, Field(min_length=1, max_length=1000)]


class CompletionTextPart(BaseModel):
    """A piece of a message."""

    type: Literal["text"]
    text: str


class ImageUrl(BaseModel):
    """Where a picture is, and how closely the model shall look."""

    url: str = Field(
        description="A data: URL (PNG, JPEG, GIF or WebP), or with `x-conversation-id` the address "
        "of a file of the conversation, or https: on a host that the app allows."
    )
    detail: Detail | None = None


class CompletionImagePart(BaseModel):
    """A picture of a user's message; of the last one, a model that can see is shown it."""

    type: Literal["image_url"]
    image_url: ImageUrl


def _form_of(content: object) -> str:
    return "parts" if isinstance(content, list) else "text"


# Errors beyond the first one would cost more than all else.
type Content = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[CompletionTextPart], FailFast(), Tag("parts")],
    Discriminator(_form_of),
]

type UserContent = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[
        list[Annotated[CompletionTextPart | CompletionImagePart, Field(discriminator="type")]],
        FailFast(),
        Tag("parts"),
    ],
    Discriminator(_form_of),
]

_UPLOAD = (
    "Upload it to a conversation (POST /api/conversations, then /api/conversations/{id}/files) and "
    "name the conversation in the header x-conversation-id: Python finds it in /mnt/data."
)
# The type of a part → why a message may have none, and where its content goes.
OTHER_PARTS = {
    "image_url": "Only messages of the user can have images.",
    "input_audio": f"The agent takes no sound in messages. {_UPLOAD}",
    "file": f"The agent takes no files in messages. {_UPLOAD}",
    "refusal": "Send what was refused as text.",
}


class CompletionInstructionMessage(BaseModel):
    """The application's instructions; the model reads them after the agent's own."""

    role: Literal["system", "developer"]
    content: Content


class CompletionUserMessage(BaseModel):
    """A message of the user."""

    role: Literal["user"]
    content: UserContent


class CompletionAssistantMessage(BaseModel):
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
                CompletionInstructionMessage | CompletionUserMessage | CompletionAssistantMessage,
                Field(discriminator="role"),
            ]
        ],
        Field(min_length=1),
        FailFast(),
    ]
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    # For the model.
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    max_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = Field(
        default=None, description="Of each model call; max_completion_tokens by its older name."
    )
    max_completion_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = Field(
        default=None, description="Of each model call, reasoning included."
    )
    stop: _Stop | Annotated[list[_Stop], Field(max_length=4)] | None = None

    # Taken, not used.
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
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
