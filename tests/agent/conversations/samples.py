"""Turns and owners to test with."""

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


async def new_conversation(store: ConversationStore, owner: Owner = ALICE) -> Conversation:
    """A new conversation without a turn."""
    async with store.start(owner) as held:
        return held.conversation
