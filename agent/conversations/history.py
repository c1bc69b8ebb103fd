"""Trims a conversation's history to the size that the model reads again."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from agent.conversations.records import Turn
from agent.messages import Message
from agent.text import shortened

# What is left of a tool's output: enough to see what it was about.
SHORT_OUTPUT_CHARS: Final = 600


def trim_history(turns: Sequence[Turn], max_chars: int) -> list[Message]:
    """The messages of the newest turns, together at most `max_chars` characters.

    First the tool outputs of old turns are shortened, the oldest first; if that is not enough, the
    oldest turns are left out. The newest turn always stays, its tool outputs shortened when it is
    too long alone; question and answer are never touched, so only they can exceed `max_chars`.
    Turns stay whole, so every tool call keeps its result.

    Args:
        turns: oldest first.
        max_chars: of text, function names and arguments; about a quarter as many tokens.
    """
    turn_messages = [list(turn.messages) for turn in turns]
    total = sum(map(_size, turn_messages))
    for messages in turn_messages[:-1]:
        if total <= max_chars:
            break
        total -= _shorten_outputs(messages)
    first = 0
    while total > max_chars and first < len(turn_messages) - 1:
        total -= _size(turn_messages[first])
        first += 1
    if total > max_chars and turn_messages:
        _shorten_outputs(turn_messages[-1])
    return [message for messages in turn_messages[first:] for message in messages]


def _size(messages: Sequence[Message]) -> int:
    chars = 0
    for message in messages:
        chars += len(message.text)
        for call in message.tool_calls:
            chars += len(call.name) + len(call.arguments)
    return chars


def _shorten_outputs(messages: list[Message]) -> int:
    """Shorten the tool outputs in place; tells by how many characters."""
    before = _size(messages)
    messages[:] = [
        replace(message, text=shortened(message.text, SHORT_OUTPUT_CHARS))
        if message.role == "tool"
        else message
        for message in messages
    ]
    return before - _size(messages)
