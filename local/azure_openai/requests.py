"""The body of POST …/chat/completions, read strictly: unknown fields and values are refused.

https://learn.microsoft.com/azure/ai-foundry/openai/reference#chat-completions
"""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import from_json

from local.azure_openai.errors import InvalidRequestError

# Parameters that Azure knows and that would change the answer, with the values that do not.
_NOT_EMULATED: Final[dict[str, tuple[JsonValue, ...]]] = {
    "audio": (None,),
    "data_sources": (None, []),
    "function_call": (None,),
    "functions": (None,),
    "logit_bias": (None, {}),
    "logprobs": (None, False),
    "modalities": (None, ["text"]),
    "moderation": (None,),
    "n": (None, 1),
    "prediction": (None,),
    "reasoning_effort": (None,),
    "response_format": (None, {"type": "text"}),
    "store": (None, False),
    "top_logprobs": (None, 0),
    "verbosity": (None,),
    "web_search_options": (None,),
}


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TextPart(_Wire):
    """One part of a message's content; sound and files are not emulated."""

    type: Literal["text"]
    text: str


class ImageUrl(_Wire):
    """Where a picture is, and how closely the model shall look."""

    url: str
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(_Wire):
    """A picture in a user's message."""

    type: Literal["image_url"]
    image_url: ImageUrl


Content = str | list[TextPart]
UserContent = str | list[Annotated[TextPart | ImagePart, Field(discriminator="type")]]


class FunctionCall(_Wire):
    """Name and arguments (JSON text, as the model wrote it) of a tool call."""

    name: str
    arguments: str


class ToolCallMessage(_Wire):
    """A tool call that an assistant message made earlier."""

    id: str
    type: Literal["function"]
    function: FunctionCall


class SystemMessage(_Wire):
    """Instructions; `developer` is the newer word."""

    role: Literal["system", "developer"]
    content: Content
    name: str | None = None


class UserMessage(_Wire):
    """A question."""

    role: Literal["user"]
    content: UserContent
    name: str | None = None


class AssistantMessage(_Wire):
    """An earlier answer: text, tool calls, or both."""

    role: Literal["assistant"]
    content: Content | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: Annotated[list[ToolCallMessage], Field(min_length=1)] | None = None
    annotations: Annotated[list[JsonValue], Field(max_length=0)] | None = None


class ToolMessage(_Wire):
    """The result of a tool call."""

    role: Literal["tool"]
    content: Content
    tool_call_id: str
    name: str | None = None


Message = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")
]


class Function(_Wire):
    """A function that the model may call; `parameters` is a JSON Schema."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, JsonValue] = {}
    strict: bool | None = None


class Tool(_Wire):
    """The only type of tool that chat completions has here."""

    type: Literal["function"]
    function: Function


class NamedFunction(_Wire):
    """The function that must be called."""

    name: str


class NamedToolChoice(_Wire):
    """One tool that must be called."""

    type: Literal["function"]
    function: NamedFunction


class StreamOptions(_Wire):
    """`include_usage` adds a last chunk with the token counts."""

    include_usage: bool = False
    include_obfuscation: bool = False


class ChatRequest(_Wire):
    """A chat completion to be made."""

    messages: Annotated[list[Message], Field(min_length=1)]
    model: str | None = None
    tools: Annotated[list[Tool], Field(min_length=1, max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedToolChoice | None = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    # Sampling: valid values are accepted, and change nothing in a deterministic program.
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: int | None = None
    # Labels for Azure's own books.
    user: str | None = None
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: Literal["auto", "default"] | None = None

    @property
    def token_limit(self) -> int | None:
        """The answer's token limit; None if the request sets none."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def includes_usage(self) -> bool:
        """Whether the caller wants a last chunk with the token counts."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def callable_tools(self) -> list[Function]:
        """The functions that `tool_choice` lets the model call."""
        functions = [tool.function for tool in self.tools or []]
        if self.tool_choice == "none":
            return []
        if isinstance(self.tool_choice, NamedToolChoice):
            name = self.tool_choice.function.name
            return [function for function in functions if function.name == name]
        return functions

    @property
    def must_call(self) -> bool:
        """Whether the answer has to be a tool call."""
        return self.tool_choice == "required" or isinstance(self.tool_choice, NamedToolChoice)


def text_of(content: Content | UserContent | None) -> str:
    """The text of a message's content, its parts on lines of their own."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text for part in content if isinstance(part, TextPart))


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a request's body.

    Raises:
        InvalidRequestError: it is not JSON, or not an object.
    """
    try:
        value = from_json(body)
    except ValueError as error:
        raise InvalidRequestError(
            f"We could not parse the JSON body of your request: {error}", param=None
        ) from error
    if not isinstance(value, dict):
        raise InvalidRequestError("The body of the request must be a JSON object.", param=None)
    return value


def read_chat_request(body: bytes) -> ChatRequest:
    """The request in a body, each field checked by itself.

    Raises:
        InvalidRequestError: with the field in `param`.
    """
    fields = read_object(body)
    for name, neutral in _NOT_EMULATED.items():
        if name in fields and fields.pop(name) not in neutral:
            raise InvalidRequestError(
                f"Unsupported parameter: '{name}' is not emulated by the local Azure OpenAI.",
                param=name,
                code="unsupported_parameter",
            )
    try:
        return ChatRequest.model_validate(fields)
    except ValidationError as error:
        raise _first_problem(error) from error


def _first_problem(error: ValidationError) -> InvalidRequestError:
    # Of a union's members, the one that the value fits furthest tells most.
    problem = max(
        error.errors(include_url=False, include_input=False), key=lambda found: len(found["loc"])
    )
    location = problem["loc"]
    if problem["type"] == "extra_forbidden" and len(location) == 1:
        return InvalidRequestError(
            f"Unrecognized request argument supplied: {location[0]}", param=None
        )
    if problem["type"] == "missing" and len(location) == 1:
        return InvalidRequestError(
            f"Missing required parameter: '{location[0]}'.",
            param=str(location[0]),
            code="missing_required_parameter",
        )
    param = _param(location)
    if problem["type"] == "union_tag_invalid" and len(location) > 2:  # of a part, not a role
        param += ".type"
    return InvalidRequestError(
        f"Invalid value for '{param}': {problem['msg']}.", param=param, code="invalid_value"
    )


def _param(location: tuple[int | str, ...]) -> str:
    """A pydantic location in Azure's spelling, without the names of union members."""
    param = ""
    for position, part in enumerate(location):
        if isinstance(part, int):
            param += f"[{part}]"
        elif position == 2 and location[0] == "messages":
            continue  # the role, by which the kind of message was told
        elif position == 6 and str(location[4]).startswith("list[tagged-union"):
            continue  # the type, by which the kind of part was told
        elif part.isidentifier() and part.islower() and part != "str":
            param += f".{part}" if param else part
    return param
