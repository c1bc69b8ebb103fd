"""The rules between the fields of a request, which no field shows by itself."""

from local.azure_openai.errors import InvalidRequestError
from local.azure_openai.requests import (
    AssistantMessage,
    ChatRequest,
    NamedToolChoice,
    ToolMessage,
)


def check(request: ChatRequest) -> None:
    """Refuses what Azure refuses.

    Raises:
        InvalidRequestError: tool calls and tool messages do not pair up, or parameters contradict
            each other.
    """
    _check_parameters(request)
    _check_tool_messages(request)
    for index, message in enumerate(request.messages):
        if isinstance(message, AssistantMessage) and _is_empty(message):
            raise InvalidRequestError(
                "Invalid value for 'content': expected a string, got null.",
                param=f"messages.[{index}].content",
            )


def _is_empty(message: AssistantMessage) -> bool:
    return message.content is None and message.refusal is None and not message.tool_calls


def _check_parameters(request: ChatRequest) -> None:
    if request.tools is None:
        for name in ("tool_choice", "parallel_tool_calls"):
            if getattr(request, name) not in (None, "none" if name == "tool_choice" else None):
                raise InvalidRequestError(
                    f"'{name}' is only allowed when 'tools' are specified.", param=name
                )
    if isinstance(request.tool_choice, NamedToolChoice) and not request.callable_tools:
        raise InvalidRequestError(
            f"Tool choice '{request.tool_choice.function.name}' not found in 'tools' parameter.",
            param="tool_choice",
        )
    if request.stream_options is not None and not request.stream:
        raise InvalidRequestError(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    if request.max_tokens is not None and request.max_completion_tokens is not None:
        raise InvalidRequestError(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            param="max_tokens",
        )


def _check_tool_messages(request: ChatRequest) -> None:
    open_calls: set[str] = set()
    asked_at = 0
    for index, message in enumerate(request.messages):
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in open_calls:
                raise InvalidRequestError(
                    "Invalid parameter: messages with role 'tool' must be a response to a"
                    " preceding message with 'tool_calls'.",
                    param=f"messages.[{index}].role",
                )
            open_calls.discard(message.tool_call_id)
            continue
        _check_answered(open_calls, asked_at)
        if isinstance(message, AssistantMessage) and message.tool_calls:
            open_calls = {call.id for call in message.tool_calls}
            asked_at = index
    _check_answered(open_calls, asked_at)


def _check_answered(open_calls: set[str], asked_at: int) -> None:
    if open_calls:
        raise InvalidRequestError(
            "An assistant message with 'tool_calls' must be followed by tool messages responding"
            " to each 'tool_call_id'. The following tool_call_ids did not have response messages:"
            f" {', '.join(sorted(open_calls))}",
            param=f"messages.[{asked_at}].tool_calls",
        )
