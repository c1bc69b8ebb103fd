"""The agent's messages as the chat history that the model reads."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from agent.messages import Message, ToolCall
from agent.model.kernel import PLUGIN
from agent.model.service import SentHistory
from agent.model.tool_calls import ID, new_id, object_text, valid_name
from agent.model.wire import whole_characters
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
) -> SentHistory:
    """The chat history that the model reads: the instructions, then all messages.

    Args:
        instructions: of the system.
        messages: the last one is the question.
        pictures: that the model is shown with the question.
    """
    *earlier, question = valid(messages)
    system = {"role": "system", "content": whole_characters(instructions)}
    return SentHistory(sent=[system, *map(sent, earlier), sent(question, pictures)])


def with_figures(history: SentHistory, figures: Sequence[Picture]) -> SentHistory:
    """The same history, and behind it figures for the model to see."""
    names = ", ".join(figure.name for figure in figures)
    question = sent(Message("user", _FIGURES.format(names)), figures)
    return SentHistory(sent=[*history.sent, sent(_LOOKS), question])


def sent(message: Message, pictures: Sequence[Picture] = ()) -> dict[str, Any]:
    """A message as it is sent, in whole characters; pictures stand behind the text.

    Semantic Kernel's content for pictures needs NumPy, and makes each anew for every call; it
    leaves out the text beside a tool call.
    """
    text = whole_characters(message.text)
    fields: dict[str, Any] = {"role": message.role, "content": text}
    if pictures:
        fields["content"] = [{"type": "text", "text": text}, *map(_part, pictures)]
    if message.role == "tool":
        fields["tool_call_id"] = message.tool_call_id or ""
    if message.tool_calls:
        fields["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
        if not text:
            del fields["content"]
    return fields


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
            id_ = ids.get(said.tool_call_id or "", said.tool_call_id)
            if id_ != said.tool_call_id:
                message = replace(said, tool_call_id=id_)
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


def _with_valid_calls(message: Message) -> tuple[Message, dict[str, str]]:
    """The message, and the new ids of its calls by their old ones."""
    if not message.tool_calls:
        return message, {}
    ids: dict[str, str] = {}
    calls: list[ToolCall] = []
    for call in message.tool_calls:
        ids[call.id] = call.id if ID.fullmatch(call.id) else new_id(set(ids.values()))
        name = valid_name(call.name.removeprefix(f"{PLUGIN}-"))
        arguments = object_text(call.arguments) or "{}"
        is_valid = (ids[call.id], name, arguments) == (call.id, call.name, call.arguments)
        calls.append(call if is_valid else ToolCall(ids[call.id], name, arguments))
    # To make anew what is valid already takes as long as to find that out.
    if calls != list(message.tool_calls):
        message = replace(message, tool_calls=tuple(calls))
    return message, ids
