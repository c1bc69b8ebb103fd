"""Messages of a conversation in a form that can be stored, independent of any library."""

from collections.abc import Iterable, Iterator
from typing import Literal

from agent.frozen import frozen


@frozen
class ToolCall:
    """The model's wish to have a function called.

    Attributes:
        id: the model's own name for the call; its result carries it.
        name: of the function, as the model wrote it.
        arguments: JSON text, as the model wrote it.
    """

    id: str
    name: str
    arguments: str


@frozen
class Message:
    """One message to or from the model. The system prompt is never stored.

    Attributes:
        role: who wrote it.
        text: what; may be empty where there are tool calls.
        tool_calls: of an assistant message.
        tool_call_id: of a tool message, the call that it answers.
    """

    role: Literal["user", "assistant", "tool"]
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


def texts_of(messages: Iterable[Message]) -> Iterator[str]:
    """All that is long in messages, or may be."""
    for message in messages:
        yield message.text
        for call in message.tool_calls:
            yield call.arguments
