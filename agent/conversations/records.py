"""The records of a conversation: the same values in memory, in every store and for every reader.

Pydantic reads them from bytes by these very classes, so what holds here holds for stored data too.
"""

from collections.abc import Sequence
from dataclasses import field
from datetime import datetime
from typing import Self

from agent.conversations.owner import Owner
from agent.events import Execution, File, FinishReason, ToolUse, TurnWarning, Usage
from agent.frozen import frozen
from agent.messages import Message
from agent.turns.result import TurnResult


@frozen
class Turn:
    """One question and its answer, complete.

    Attributes:
        messages: what the model needs again, in order: a user message, then assistant messages,
            each followed by the results of all its tool calls.
        input: the question as the caller wrote it.
        output: the answer.
        executions: the Python that ran.
        files: what the executions made; `url` is empty where it was a `data:` URL.
        finish_reason: why the answer ended.
        usage: tokens.
        asked_at: when, with its offset from UTC.
        session_guid: names the session that ran the code; None if none was used so far. Another
            one in the next turn means that variables and files are gone.
        warnings: what the caller should know besides.
        tool_calls: the calls of the app's own tools.
        images: names of the pictures that belonged to the question, files of the conversation.
        may_write: whether code that ran in the session so far may write files.
    """

    messages: tuple[Message, ...]
    input: str
    output: str
    executions: tuple[Execution, ...]
    files: tuple[File, ...]
    finish_reason: FinishReason
    usage: Usage
    asked_at: datetime
    session_guid: str | None = None
    warnings: tuple[TurnWarning, ...] = ()
    tool_calls: tuple[ToolUse, ...] = ()
    images: tuple[str, ...] = ()
    may_write: bool = True

    @classmethod
    def of(
        cls, question: str, asked_at: datetime, result: TurnResult, images: Sequence[str] = ()
    ) -> Self:
        """The turn that answered a question with this result."""
        return cls(
            messages=result.messages,
            input=question,
            output=result.output,
            executions=result.executions,
            files=result.files,
            finish_reason=result.finish_reason,
            usage=result.usage,
            asked_at=asked_at,
            session_guid=result.session_guid,
            warnings=result.warnings,
            tool_calls=result.tool_calls,
            images=tuple(images),
            may_write=result.may_write,
        )

    def __post_init__(self) -> None:
        if self.asked_at.tzinfo is None:
            raise ValueError("asked_at needs an offset from UTC")
        _check_order(self.messages)


@frozen
class Conversation:
    """A conversation as far as it was read.

    Attributes:
        id: 32 hexadecimal digits, 128 of 128 bits random.
        owner: whose it is.
        created_at: when, in UTC.
        turns: the newest turns, oldest first.
        earlier_turns: how many there are before these; they were not read.
    """

    id: str
    owner: Owner
    created_at: datetime
    turns: tuple[Turn, ...] = ()
    earlier_turns: int = 0

    @property
    def turn_count(self) -> int:
        """All turns, read or not."""
        return self.earlier_turns + len(self.turns)

    @property
    def session_guid(self) -> str | None:
        """The session that ran the conversation's code last."""
        return self.turns[-1].session_guid if self.turns else None

    @property
    def may_write(self) -> bool:
        """Whether code that ran there so far may write files.

        That of turns without an answer is not known; nor does the model know what it defined.
        """
        return bool(self.turns) and self.turns[-1].may_write

    @property
    def ran_at(self) -> datetime | None:
        """When a question was asked last whose answer took a tool."""
        for turn in reversed(self.turns):
            if any(message.role == "tool" for message in turn.messages):
                return turn.asked_at
        return None


@frozen
class ConversationSummary:
    """A conversation as a list shows it.

    Attributes:
        id: of the conversation.
        title: its first question, shortened; empty where none was answered yet.
        created_at: when, in UTC.
        updated_at: when its last question was asked.
        turn_count: all turns.
    """

    id: str
    title: str
    created_at: datetime
    updated_at: datetime
    turn_count: int


@frozen
class ConversationPage:
    """Some conversations of one owner, newest first.

    Attributes:
        conversations: at most as many as were asked for.
        next_cursor: leads to those that are older; None if there are none.
    """

    conversations: tuple[ConversationSummary, ...]
    next_cursor: str | None


@frozen
class StoredFile:
    """A file that was uploaded to a conversation, kept so that a lost session can be restored.

    Attributes:
        name: a path, see `file_names`.
        size_bytes: of its content.
        media_type: by its name.
        modified_at: when it was kept, by the store's clock; None if the store did not say.
    """

    name: str
    size_bytes: int
    media_type: str
    modified_at: datetime | None = field(default=None, compare=False)


def _check_order(messages: Sequence[Message]) -> None:
    """A model refuses a history in which a tool call has no result, or a result no call.

    Raises:
        ValueError: the messages are not those of one complete turn.
    """
    if not messages or messages[0].role != "user":
        raise ValueError("a turn begins with a user message")
    open_call_ids: set[str] = set()
    for message in messages:
        if message.role == "tool":
            if message.tool_call_id not in open_call_ids:
                raise ValueError("a tool message answers a call of the message before")
            open_call_ids.discard(message.tool_call_id)
            continue
        if open_call_ids:
            raise ValueError("a tool call has no result")
        if message.tool_call_id is not None or (message.tool_calls and message.role == "user"):
            raise ValueError("only the assistant calls tools, and only tools answer")
        open_call_ids = {call.id for call in message.tool_calls}
        if len(open_call_ids) != len(message.tool_calls):
            raise ValueError("two tool calls of one message have the same id")
    if open_call_ids:
        raise ValueError("a tool call has no result")
