"""What the model reads of a conversation."""

import pytest
from semantic_kernel.contents import FunctionCallContent, FunctionResultContent

from agent.messages import Message, ToolCall
from agent.model.history import chat_history, sent
from agent.model.sdk import AuthorRole, ChatMessageContent

CALL = ToolCall("call-1", "execute_python", '{"code": "1 + 1"}')
MESSAGES = {
    "question": Message("user", "What is 1 + 1?"),
    "call": Message("assistant", "", (CALL,)),
    "result": Message("tool", "2", tool_call_id="call-1"),
    "answer": Message("assistant", "Two."),
}


CONTENTS = {
    "question": ChatMessageContent(role=AuthorRole.USER, content="What is 1 + 1?"),
    "call": ChatMessageContent(
        role=AuthorRole.ASSISTANT,
        items=[FunctionCallContent(id=CALL.id, name=CALL.name, arguments=CALL.arguments)],
    ),
    "result": ChatMessageContent(
        role=AuthorRole.TOOL, items=[FunctionResultContent(id=CALL.id, result="2")]
    ),
    "answer": ChatMessageContent(role=AuthorRole.ASSISTANT, content="Two."),
}


@pytest.mark.parametrize("which", MESSAGES)
def test_a_message_is_sent_as_semantic_kernel_sends_it(which: str) -> None:
    assert sent(MESSAGES[which]) == CONTENTS[which].to_dict()


def test_the_text_beside_a_call_is_sent_too() -> None:
    assert sent(Message("assistant", "Let me see.", (CALL,))) == {
        **CONTENTS["call"].to_dict(),
        "content": "Let me see.",
    }


def test_the_instructions_come_first_and_the_question_last() -> None:
    earlier = list(MESSAGES.values())
    history = chat_history("Be brief.", [*earlier, Message("user", "And 2 + 2?")])
    assert history.sent == [
        {"role": "system", "content": "Be brief."},
        *(content.to_dict() for content in CONTENTS.values()),
        {"role": "user", "content": "And 2 + 2?"},
    ]


def test_an_id_that_no_service_takes_is_the_same_new_one_in_call_and_result() -> None:
    messages = [
        Message("user", "What is 1 + 1?"),
        Message("assistant", "", (ToolCall("a b!", CALL.name, CALL.arguments),)),
        Message("tool", "2", tool_call_id="a b!"),
        Message("user", "And 2 + 2?"),
    ]
    _, _, said, result, *_ = chat_history("", messages).sent
    call = said["tool_calls"][0]
    assert call["id"] == result["tool_call_id"] != "a b!"
