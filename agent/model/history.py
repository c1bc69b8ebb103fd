"""The agent's messages as Semantic Kernel's chat history, and back."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from agent.messages import Message, ToolCall
from agent.model.kernel import PLUGIN
from agent.model.sdk import (
    AuthorRole,
    ChatHistory,
    ChatMessageContent,
    FunctionCallContent,
    FunctionResultContent,
    TextContent,
)
from agent.model.tool_calls import ID, new_id, object_text, valid_name
from agent.model.wire import whole_characters

# Between a question that got no answer and the next one: many models take no two in a row.
_NO_ANSWER = Message("assistant", "(no answer)")


def chat_history(instructions: str, messages: Iterable[Message]) -> ChatHistory:
    """The chat history that the model reads: the instructions, then all messages."""
    contents = [ChatMessageContent(role=AuthorRole.SYSTEM, content=instructions)]
    contents += [content_of(message) for message in valid(messages)]
    return ChatHistory(messages=contents)


def valid(messages: Iterable[Message]) -> Iterator[Message]:
    """The same messages without what a service refuses, wherever they come from.

    Each has something to say; a question never follows a tool's result; two questions in a row
    become one. Names, ids and arguments of calls are of the form that services take.
    """
    before: Message | None = None
    ids: dict[str, str] = {}
    for said in messages:
        message = said
        if said.role == "assistant":
            if not said.tool_calls and not said.text.strip():
                continue
            message, ids = _with_valid_calls(said)
        elif said.role == "tool":
            id_ = said.tool_call_id or ""
            message = replace(said, tool_call_id=ids.get(id_, id_))
        elif before and before.role == "user":
            before = replace(said, text=f"{before.text}\n\n{said.text}")
            continue
        if before:
            yield before
            if before.role == "tool" and message.role == "user":
                yield _NO_ANSWER
        before = message
    if before:
        yield before


def content_of(message: Message) -> ChatMessageContent:
    """One message as Semantic Kernel has it."""
    match message.role:
        case "user":
            return ChatMessageContent(role=AuthorRole.USER, content=message.text)
        case "tool":
            result = FunctionResultContent(id=message.tool_call_id, result=message.text)
            return ChatMessageContent(role=AuthorRole.TOOL, items=[result])
    calls = [call_content(call) for call in message.tool_calls]
    texts = [TextContent(text=message.text)] if message.text else []
    return ChatMessageContent(role=AuthorRole.ASSISTANT, items=[*texts, *calls])


def call_content(call: ToolCall) -> FunctionCallContent:
    """A tool call as Semantic Kernel invokes it, under the name that the model knows."""
    return FunctionCallContent(
        id=call.id,
        name=call.name,
        plugin_name=PLUGIN,
        function_name=call.name,
        arguments=call.arguments,
    )


def result_of(content: ChatMessageContent) -> Message:
    """The result of a tool call that Semantic Kernel invoked."""
    result = next(item for item in content.items if isinstance(item, FunctionResultContent))
    return Message("tool", whole_characters(str(result.result)), tool_call_id=result.id)


def _with_valid_calls(message: Message) -> tuple[Message, dict[str, str]]:
    """The message, and the new ids of its calls by their old ones."""
    if not message.tool_calls:
        return message, {}
    ids: dict[str, str] = {}
    calls: list[ToolCall] = []
    for call in message.tool_calls:
        ids[call.id] = call.id if ID.fullmatch(call.id) else new_id(set(ids.values()))
        name = valid_name(call.name.removeprefix(f"{PLUGIN}-"))
        calls.append(ToolCall(ids[call.id], name, object_text(call.arguments) or "{}"))
    return replace(message, tool_calls=tuple(calls)), ids
