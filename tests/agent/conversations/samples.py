"""Turns and owners to test with."""

from dataclasses import replace
from datetime import UTC, datetime

from agent.conversations.owner import Owner
from agent.conversations.records import Conversation, Turn
from agent.conversations.store import ConversationStore
from agent.events import Execution, File, TurnWarning, Usage
from agent.messages import Message, ToolCall

ALICE = Owner("aad", "11111111-1111-4111-8111-111111111111")
BOB = Owner("aad", "22222222-2222-4222-8222-222222222222")


def turn(question: str = "What is 2+2?", *, printed: str = "4\n", answer: str = "It is 4.") -> Turn:
    """A turn in which Python ran once."""
    code = "print(2+2)"
    return Turn(
        messages=(
            Message("user", question),
            Message(
                "assistant",
                tool_calls=(ToolCall("call-1", "python-execute_python", f'{{"code":"{code}"}}'),),
            ),
            Message("tool", f'{{"stdout":"{printed!r}"}}', tool_call_id="call-1"),
            Message("assistant", answer),
        ),
        input=question,
        output=answer,
        executions=(Execution(code, "Succeeded", printed, "", None, 12),),
        files=(File("plot.png", "image/png", 3, "/api/conversations/x/files/plot.png"),),
        finish_reason="stop",
        usage=Usage(100, 20),
        asked_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        session_guid="b7e1",
        warnings=(TurnWarning("SessionLost", "Variables are gone."),),
    )


def as_the_next_turn_needs_it(conversation: Conversation) -> Conversation:
    """What a hold gives of it: messages, files and sessions, not what is for the caller."""
    needed = [
        replace(
            turn,
            input="",
            output="",
            executions=(),
            warnings=(),
            tool_calls=(),
            images=(),
            usage=Usage(),
            finish_reason="stop",
        )
        for turn in conversation.turns
    ]
    return replace(conversation, turns=tuple(needed))


async def new_conversation(store: ConversationStore, owner: Owner = ALICE) -> Conversation:
    """A new conversation without a turn."""
    async with store.start(owner) as held:
        return held.conversation
