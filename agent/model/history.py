"""The agent's messages as Semantic Kernel's chat history, and back."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

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
from agent.model.service import PARTS
from agent.model.tool_calls import ID, new_id, object_text, valid_name
from agent.pictures import Picture

# Between a question that got no answer and the next one: many models take no two in a row.
_NO_ANSWER = Message("assistant", "(no answer)")
# No service takes a picture in a tool's result, and many models no question right behind one.
_LOOKS = Message("assistant", "(Let me look at the figures.)")
_FIGURES = (
    "The figures that your code made, in order: {}. Mend what is wrong with them, if anything is."
)


def chat_history(
    instructions: str, messages: Iterable[Message], pictures: Sequence[Picture] = ()
) -> ChatHistory:
    """The chat history that the model reads: the instructions, then all messages.

    Args:
        instructions: of the system.
        messages: the last one is the question.
        pictures: that the model is shown with the question.
    """
    contents = [ChatMessageContent(role=AuthorRole.SYSTEM, content=instructions)]
    contents += [content_of(message) for message in valid(messages)]
    _show(contents[-1], pictures)
    return ChatHistory(messages=contents)


def with_figures(history: ChatHistory, figures: Sequence[Picture]) -> ChatHistory:
    """The same history, and behind it figures for the model to see."""
    names = ", ".join(figure.name for figure in figures)
    question = content_of(Message("user", _FIGURES.format(names)))
    _show(question, figures)
    return ChatHistory(messages=[*history.messages, content_of(_LOOKS), question])


def _show(message: ChatMessageContent, pictures: Sequence[Picture]) -> None:
    """Add pictures to a message, in the form in which they are sent.

    Semantic Kernel's own content for them needs NumPy, and makes each anew for every call.
    """
    if pictures:
        message.metadata[PARTS] = [_part(picture) for picture in pictures]


def _part(picture: Picture) -> dict[str, Any]:
    detail = {"detail": picture.detail} if picture.detail else {}
    return {"type": "image_url", "image_url": {"url": picture.data_url, **detail}}


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
    calls = [_call_content(call) for call in message.tool_calls]
    texts = [TextContent(text=message.text)] if message.text else []
    return ChatMessageContent(role=AuthorRole.ASSISTANT, items=[*texts, *calls])


def _call_content(call: ToolCall) -> FunctionCallContent:
    """A tool call as Semantic Kernel invokes it, under the name that the model knows."""
    return FunctionCallContent(
        id=call.id,
        name=call.name,
        plugin_name=PLUGIN,
        function_name=call.name,
        arguments=call.arguments,
    )


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
