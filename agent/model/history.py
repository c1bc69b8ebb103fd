"""The agent's messages as Semantic Kernel's chat history, and back."""

from collections.abc import Iterable

from agent.messages import Message, ToolCall
from agent.model.sdk import (
    AuthorRole,
    ChatHistory,
    ChatMessageContent,
    FunctionCallContent,
    FunctionResultContent,
    TextContent,
)


def chat_history(instructions: str, messages: Iterable[Message]) -> ChatHistory:
    """The chat history that the model reads: the instructions, then all messages."""
    contents = [ChatMessageContent(role=AuthorRole.SYSTEM, content=instructions)]
    contents += [_content_of(message) for message in messages]
    return ChatHistory(messages=contents)


def message_of(content: ChatMessageContent) -> Message:
    """One message of a chat history."""
    calls = [
        ToolCall(item.id or "", item.name or "", _json_text(item))
        for item in content.items
        if isinstance(item, FunctionCallContent)
    ]
    for item in content.items:
        if isinstance(item, FunctionResultContent):
            return Message("tool", str(item.result), tool_call_id=item.id)
    if content.role is AuthorRole.ASSISTANT:
        return Message("assistant", content.content or "", tuple(calls))
    return Message("user", content.content or "")


def _content_of(message: Message) -> ChatMessageContent:
    match message.role:
        case "user":
            return ChatMessageContent(role=AuthorRole.USER, content=message.text)
        case "tool":
            result = FunctionResultContent(id=message.tool_call_id, result=message.text)
            return ChatMessageContent(role=AuthorRole.TOOL, items=[result])
    calls = [
        FunctionCallContent(id=call.id, name=call.name, arguments=call.arguments)
        for call in message.tool_calls
    ]
    texts = [TextContent(text=message.text)] if message.text else []
    return ChatMessageContent(role=AuthorRole.ASSISTANT, items=[*texts, *calls])


def _json_text(call: FunctionCallContent) -> str:
    # A dict only where Semantic Kernel's caller gave one; a model gives text.
    return call.arguments if isinstance(call.arguments, str) else ""
