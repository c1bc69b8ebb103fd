"""Which messages are a turn: those that a model takes back."""

from dataclasses import replace
from datetime import datetime

import pytest

from agent.messages import Message, ToolCall
from tests.agent.conversations.samples import turn

CALL = ToolCall("call-1", "python-execute_python", "{}")
QUESTION = Message("user", "?")
CALLING = Message("assistant", tool_calls=(CALL,))
RESULT = Message("tool", "4", tool_call_id="call-1")
ANSWER = Message("assistant", "4")


@pytest.mark.parametrize(
    "messages",
    [
        (QUESTION, ANSWER),
        (QUESTION, CALLING, RESULT, ANSWER),
        (QUESTION, CALLING, RESULT, CALLING, RESULT, ANSWER),
        (QUESTION, CALLING, RESULT),
    ],
)
def test_a_complete_turn_is_accepted(messages: tuple[Message, ...]) -> None:
    assert replace(turn(), messages=messages).messages == messages


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ((), "begins with a user message"),
        ((ANSWER,), "begins with a user message"),
        ((QUESTION, CALLING), "no result"),
        ((QUESTION, CALLING, ANSWER), "no result"),
        ((QUESTION, RESULT, ANSWER), "answers a call"),
        ((QUESTION, CALLING, RESULT, RESULT), "answers a call"),
        ((QUESTION, ANSWER, Message("tool", "4")), "answers a call"),
        ((QUESTION, Message("assistant", "4", tool_call_id="call-1")), "only tools answer"),
        ((QUESTION, Message("user", "?", (CALL,)), RESULT), "only the assistant"),
        ((QUESTION, Message("assistant", "", (CALL, CALL)), RESULT), "same id"),
    ],
)
def test_a_turn_that_a_model_would_refuse_is_not_made(
    messages: tuple[Message, ...], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        replace(turn(), messages=messages)


def test_a_time_without_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="offset"):
        replace(turn(), asked_at=datetime(2026, 1, 2))  # noqa: DTZ001 - without an offset, as the rule forbids and `Turn` has to refuse
