"""The rules between the fields of a request, which no field shows by itself.

Azure's own, and those of the chat templates of models that a relay leads to: an agent that is
tested against the stand-in should be understood by all of them.
"""

import json
import re
from typing import Final

from local.azure_openai.errors import InvalidRequestError
from local.azure_openai.requests import (
    AssistantMessage,
    ChatRequest,
    NamedToolChoice,
    SystemMessage,
    ToolCallMessage,
    ToolMessage,
    UserMessage,
)

_FUNCTION_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CALL_ID_MAX_CHARS: Final = 40


def check(request: ChatRequest) -> None:
    """Refuses what Azure refuses, and what templates refuse that many local models have.

    Raises:
        InvalidRequestError: tool calls and tool messages do not pair up, a call is not of the form
            that services take, messages stand in an order that models do not read, or parameters
            contradict each other.
    """
    _check_parameters(request)
    _check_tool_messages(request)
    _check_order(request)
    for index, message in enumerate(request.messages):
        if isinstance(message, AssistantMessage) and _is_empty(message):
            raise InvalidRequestError(
                "Invalid value for 'content': expected a string, got null.",
                param=f"messages.[{index}].content",
            )


def _is_empty(message: AssistantMessage) -> bool:
    return message.content is None and message.refusal is None and not message.tool_calls


def _check_order(request: ChatRequest) -> None:
    for index, message in enumerate(request.messages[1:], 1):
        # Qwen's and Mistral's templates.
        if isinstance(message, SystemMessage):
            raise InvalidRequestError(
                "System message must be at the beginning.", param=f"messages.[{index}].role"
            )
        # Mistral's.
        before = request.messages[index - 1]
        if isinstance(message, UserMessage) and isinstance(before, ToolMessage):
            raise InvalidRequestError(
                "Unexpected role 'user' after role 'tool'.", param=f"messages.[{index}].role"
            )


def _check_calls(calls: list[ToolCallMessage], message_index: int) -> None:
    for index, call in enumerate(calls):
        param = f"messages[{message_index}].tool_calls[{index}]"
        if not _FUNCTION_NAME.fullmatch(call.function.name):
            raise InvalidRequestError(
                f"Invalid '{param}.function.name': string does not match pattern. Expected a string"
                " that matches the pattern '^[a-zA-Z0-9_-]+$'.",
                param=f"{param}.function.name",
                code="invalid_value",
            )
        if not 0 < len(call.id) <= _CALL_ID_MAX_CHARS:
            raise InvalidRequestError(
                f"Invalid '{param}.id': expected a string with a length of 1 to"
                f" {_CALL_ID_MAX_CHARS}, but got one with length {len(call.id)}.",
                param=f"{param}.id",
                code="string_above_max_length" if call.id else "empty_string",
            )
        # llama.cpp's templates read them.
        if not _is_object(call.function.arguments):
            raise InvalidRequestError(
                f"Invalid '{param}.function.arguments': expected a JSON object.",
                param=f"{param}.function.arguments",
                code="invalid_value",
            )
    if len({call.id for call in calls}) < len(calls):
        raise InvalidRequestError(
            f"Duplicate tool call id in 'messages[{message_index}].tool_calls'.",
            param=f"messages[{message_index}].tool_calls",
            code="invalid_value",
        )


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(json.loads(arguments), dict)
    except ValueError:
        return False


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
            _check_calls(message.tool_calls, index)
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
