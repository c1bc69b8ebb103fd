"""What the model reads of a conversation."""

import pytest

from agent.messages import Message, ToolCall
from agent.model.history import chat_history, content_of
from agent.model.service import SENT

CALL = ToolCall("call-1", "execute_python", '{"code": "1 + 1"}')
MESSAGES = {
    "question": Message("user", "What is 1 + 1?"),
    "call": Message("assistant", "", (CALL,)),
    "result": Message("tool", "2", tool_call_id="call-1"),
    "answer": Message("assistant", "Two."),
}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES.keys())
def test_a_message_is_sent_as_semantic_kernel_sends_it(message: Message) -> None:
    content = content_of(message)
    assert content.metadata[SENT] == content.to_dict()


def test_the_text_beside_a_call_is_sent_too() -> None:
    content = content_of(Message("assistant", "Let me see.", (CALL,)))
    assert content.metadata[SENT] == {**content.to_dict(), "content": "Let me see."}


def test_earlier_messages_are_sent_like_those_of_the_turn() -> None:
    earlier = list(MESSAGES.values())
    history = chat_history("Be brief.", [*earlier, Message("user", "And 2 + 2?")])
    assert history.before == [
        {"role": "system", "content": "Be brief."},
        *(content_of(message).metadata[SENT] for message in earlier),
    ]
    assert [said.metadata[SENT] for said in history.messages] == [
        {"role": "user", "content": "And 2 + 2?"}
    ]


def test_an_id_that_no_service_takes_is_the_same_new_one_in_call_and_result() -> None:
    messages = [
        Message("user", "What is 1 + 1?"),
        Message("assistant", "", (ToolCall("a b!", CALL.name, CALL.arguments),)),
        Message("tool", "2", tool_call_id="a b!"),
        Message("user", "And 2 + 2?"),
    ]
    sent = chat_history("", messages).before
    call, result = sent[2]["tool_calls"][0], sent[3]
    assert call["id"] == result["tool_call_id"] != "a b!"
