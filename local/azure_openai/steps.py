"""The next step of a model: an answer, or tool calls."""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from local.azure_openai.requests import ChatRequest, Function, NamedToolChoice

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
# Looks at the request a step is about to answer; raises AssertionError when it is not as expected.
Expectation = Callable[[ChatRequest], object]


@dataclass(frozen=True)
class Say:
    """Answer with text."""

    text: str
    expect: Expectation | None = None


@dataclass(frozen=True)
class CallTool:
    """Call one tool.

    Attributes:
        code: argument of the tool that runs code; it is found in the request.
        name: of the tool, when it is not the one that runs code.
        arguments: an object, or JSON text word for word (also malformed); excludes `code`.
        text: said before the call.
        expect: looks at the request.
    """

    code: str | None = None
    name: str | None = None
    arguments: Mapping[str, Any] | str | None = None
    text: str = ""
    expect: Expectation | None = None


@dataclass(frozen=True)
class CallTools:
    """Call several tools in one message, in this order."""

    calls: Sequence[CallTool]
    text: str = ""
    expect: Expectation | None = None


Step = Say | CallTool | CallTools
# A model is a function: it sees the whole request and decides on one step.
Model = Callable[[ChatRequest], Step]


class StepRefusedError(Exception):
    """The request does not allow the step, for example a tool call without tools."""


@dataclass(frozen=True)
class ToolCall:
    """A tool call as it goes to the caller; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Reply:
    """One answer, before it is cut into chunks."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: FinishReason


def code_tool(request: ChatRequest) -> Function | None:
    """The callable tool that takes code: one with a string parameter `code` and no other need."""
    for function in request.callable_tools:
        properties = function.parameters.get("properties")
        required = function.parameters.get("required", [])
        if not isinstance(properties, dict) or not isinstance(required, list):
            continue
        code = properties.get("code")
        is_string = isinstance(code, dict) and code.get("type") == "string"
        if is_string and all(name == "code" for name in required):
            return function
    return None


def reply_to(request: ChatRequest, step: Step) -> Reply:
    """The answer that a step amounts to under this request.

    Raises:
        StepRefusedError: the request does not allow it.
    """
    match step:
        case Say(text=text):
            if request.must_call:
                raise StepRefusedError("the request's tool_choice demands a tool call")
            return Reply(text, (), "stop")
        case CallTool():
            calls: Sequence[CallTool] = [step]
        case CallTools():
            calls = step.calls
    if len(calls) > 1 and request.parallel_tool_calls is False:
        raise StepRefusedError("the request forbids parallel tool calls")
    # Azure reports "stop" when the caller itself named the tool to call.
    forced = isinstance(request.tool_choice, NamedToolChoice)
    return Reply(
        step.text,
        tuple(_tool_call(request, call) for call in calls),
        "stop" if forced else "tool_calls",
    )


def _tool_call(request: ChatRequest, call: CallTool) -> ToolCall:
    if call.name is None:
        function = code_tool(request)
        if function is None:
            raise StepRefusedError("the request offers no tool with a string parameter 'code'")
        name = function.name
    else:
        name = call.name
    arguments: Mapping[str, Any] | str
    if call.arguments is None:
        arguments = {} if call.code is None else {"code": call.code}
    else:
        arguments = call.arguments
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return ToolCall(f"call_{uuid.uuid4().hex[:24]}", name, text)


def bounded(reply: Reply, request: ChatRequest, chars_per_token: int) -> Reply:
    """The reply as far as `stop`, `max_tokens` and `max_completion_tokens` let it go."""
    stops = [request.stop] if isinstance(request.stop, str) else request.stop or []
    ends = [end for stop in stops if stop and (end := reply.text.find(stop)) >= 0]
    if ends:
        reply = replace(reply, text=reply.text[: min(ends)])
    if request.token_limit is None:
        return reply
    room = request.token_limit * chars_per_token
    size = len(reply.text) + sum(len(call.arguments) for call in reply.tool_calls)
    if size <= room:
        return reply
    text = reply.text[:room]
    room -= len(text)
    calls: list[ToolCall] = []
    for call in reply.tool_calls:
        if room <= 0:
            break
        calls.append(replace(call, arguments=call.arguments[:room]))
        room -= len(call.arguments)
    return Reply(text, tuple(calls), "length")
