"""Turns to and from bytes: one line of JSON each, the same in every store."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from itertools import pairwise
from typing import Final, Self

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from agent.conversations.owner import Owner
from agent.conversations.records import Conversation, Turn
from agent.conversations.remembered import Remembered
from agent.errors import ConversationUnreadableError, HoldLostError
from agent.events import Execution, File, ImageOutput, Output, Usage
from agent.frozen import frozen
from agent.memory import FREE_BYTES, Share
from agent.messages import Message
from agent.text import shortened

# To how many characters each output of a turn that is too long is shortened, until it fits.
_CUTS: Final = (100_000, 30_000, 10_000, 3_000, 1_000)

# What is read in half a millisecond.
_SHORT_BYTES: Final = 64 * 1024

# Bytes as they come, those of the whole lines, and the texts in them.
_READING: Final = 3

TITLE_MAX_CHARS: Final = 80
_NO_USAGE: Final = Usage()

type ReadRange = Callable[[int, int], Awaitable[bytes]]
# Writes the bytes of a turn behind so many others, wholly or not at all. Cancelled, it first ends
# what it does. The value is the mark of what is there then (see Remembered), if that is known.
type Write[Mark] = Callable[[Turn, bytes, int], Awaitable[Mark | None]]


@frozen
class Line:
    """The content of a line.

    Attributes:
        number: 1 for the first turn of the conversation.
        turn: the turn.
    """

    number: int
    turn: Turn


@frozen
class _NeededTurn:
    """Of a turn what the next one needs; the rest is read over, which takes half the time."""

    messages: tuple[Message, ...]
    files: tuple[File, ...]
    asked_at: datetime
    session_guid: str | None = None
    may_write: bool = True


@frozen
class _NeededLine:
    number: int
    turn: _NeededTurn


def needed(turn: Turn | _NeededTurn) -> Turn:
    """The turn without what the next one does not need."""
    return Turn(
        messages=turn.messages,
        input="",
        output="",
        executions=(),
        files=turn.files,
        finish_reason="stop",
        usage=_NO_USAGE,
        asked_at=turn.asked_at,
        session_guid=turn.session_guid,
        may_write=turn.may_write,
    )


# Both are built by the first use: it costs some ms, which a cold start need not pay.
@cache
def _adapter() -> TypeAdapter[Line]:
    return TypeAdapter(Line)


@cache
def _needed() -> TypeAdapter[_NeededLine]:
    return TypeAdapter(_NeededLine)


def encode(line: Line, max_bytes: int) -> tuple[Line, bytes]:
    """The line as it will be read again, and its bytes.

    Contents in `data:` URLs are left out. Outputs of code are shortened if the line would have
    more than `max_bytes`; question and answer never are.
    """
    turn = line.turn
    if any(map(_has_content, turn.files)):
        turn = replace(turn, files=tuple(map(_without_content, turn.files)))
        line = Line(line.number, turn)
    line, data = _dumped(line)
    for max_chars in _CUTS:
        if len(data) <= max_bytes:
            break
        line, data = _dumped(replace(line, turn=_with_short_outputs(turn, max_chars)))
    return line, data


class Decoder:
    """Reads the lines of histories, none of which holds up the event loop.

    One of 8 MB takes 50 ms; so long ones are read line by line, one history at a time.
    """

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Lock()

    async def decode(self, data: bytes, *, whole: bool = True) -> tuple[Line, ...]:
        """All lines of `data`, which begins and ends where a line does.

        Args:
            data: as it is stored.
            whole: or only what the next turn needs of each: messages, files and the session.

        Raises:
            ConversationUnreadableError: this app wrote no such lines.
        """
        if len(data) <= _SHORT_BYTES:
            lines = tuple(_line_of(text, whole=whole) for text in _texts(data))
        else:
            lines = await self._by_line(data, whole=whole)
        for before, after in pairwise(lines):
            if after.number != before.number + 1:
                raise unreadable("a turn is missing")
        return lines

    async def _by_line(self, data: bytes, *, whole: bool) -> tuple[Line, ...]:
        lines = []
        async with self._one_at_a_time:
            for text in _texts(data):
                lines.append(_line_of(text, whole=whole))
                await asyncio.sleep(0)
        return tuple(lines)


def _texts(data: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        end = data.find(b"\n", start)
        if end < 0:
            end = len(data)
        if end > start:
            yield data[start:end]
        start = end + 1


def _line_of(text: bytes, *, whole: bool) -> Line:
    try:
        if whole:
            return _adapter().validate_json(text)
        line = _needed().validate_json(text)
        return Line(line.number, needed(line.turn))
    except ValidationError as error:
        # Not the error's own words: they would show what is stored.
        raise unreadable(error.errors(include_input=False)[0]["type"]) from None


async def read_newest(read: ReadRange, size_bytes: int, max_bytes: int) -> bytes:
    """The last whole lines of a file, together at most `max_bytes` unless one alone is longer.

    Args:
        read: gives the bytes from an offset up to another.
        size_bytes: of the file, up to and with its last line end.
        max_bytes: at least 1.
    """
    while True:
        start = max(0, size_bytes - max_bytes)
        # With the byte before, so that a line that begins exactly at `start` counts as whole.
        data = await read(max(0, start - 1), size_bytes)
        if start == 0:
            return data
        newest = data[data.find(b"\n") + 1 :]
        if newest:
            return newest
        max_bytes *= 2


async def make_room(share: Share | None, size_bytes: int, max_bytes: int) -> None:
    """Wait until there is memory for what will be read of a history.

    Raises:
        AppBusyError: other requests have it.
    """
    reads = min(size_bytes, max_bytes)
    if share and reads > FREE_BYTES:
        await share.take(_READING * reads)


def title_in(start: bytes) -> str:
    """The title of a conversation whose history begins so; its first line may be cut.

    It is empty where this app wrote no such line: a list is not for finding that out.
    """
    # A character may be cut too.
    line = start.partition(b"\n")[0].decode("utf-8", "ignore")
    if not line:
        return ""
    try:
        turn = from_json(line, allow_partial="trailing-strings")["turn"]
        # The question comes first, and again behind all that was done about it.
        return title_of(str(turn.get("input") or turn["messages"][0]["text"]))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return ""


def title_of(question: str) -> str:
    """A question as the title of its conversation: one short line."""
    line = " ".join(question[: 4 * TITLE_MAX_CHARS].split())
    return line if len(line) <= TITLE_MAX_CHARS else f"{line[: TITLE_MAX_CHARS - 1].rstrip()}…"


def number_in(start: bytes) -> int:
    """The number of a turn whose line begins so; 0 where this app wrote no such line."""
    try:
        text = start.decode("utf-8", "ignore")
        return int(from_json(text, allow_partial="trailing-strings")["number"])
    except (ValueError, KeyError, TypeError):
        return 0


def conversation_of(
    conversation_id: str, owner: Owner, created_at: datetime, newest: Sequence[Line]
) -> Conversation:
    """The conversation of which these are the newest lines."""
    turns = tuple(line.turn for line in newest)
    earlier_turns = newest[0].number - 1 if newest else 0
    return Conversation(conversation_id, owner, created_at, turns, earlier_turns)


class ConversationWriter[Mark]:
    """A `HeldConversation`, ours while the block runs."""

    def __init__(
        self, conversation: Conversation, size_bytes: int, turn_max_bytes: int, write: Write[Mark]
    ) -> None:
        """Nothing is written yet.

        Args:
            conversation: as it was read.
            size_bytes: of its history in the store.
            turn_max_bytes: of one stored turn.
            write: adds to the history.
        """
        self._size_bytes = size_bytes
        self._mark: Mark | None = None
        self._conversation = conversation
        self._turn_max_bytes = turn_max_bytes
        self._write = write
        self._ended = False

    @property
    def conversation(self) -> Conversation:
        """See HeldConversation."""
        return self._conversation

    @property
    def left(self) -> Remembered[Mark] | None:
        """The conversation as the turns left it; None if none was added, or it is not known."""
        if self._mark is None:
            return None
        return Remembered(self._conversation, self._size_bytes, self._mark)

    async def append(self, turn: Turn) -> None:
        """See HeldConversation."""
        if self._ended:
            raise HoldLostError("The turn ended before it was added.")
        before = self._conversation
        line, data = encode(Line(before.turn_count + 1, turn), self._turn_max_bytes)
        self._mark = None
        try:
            mark = await self._write(line.turn, data, self._size_bytes)
        except asyncio.CancelledError:
            # It may be written: nobody should write over it, or add to what is not known.
            self._ended = True
            raise
        self._mark = mark
        self._size_bytes += len(data)
        self._conversation = replace(before, turns=(*before.turns, needed(line.turn)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True


def unreadable(why: str) -> ConversationUnreadableError:
    """The error for stored data that is not ours."""
    return ConversationUnreadableError(
        f"The stored history was not written by this app ({why}). "
        "Delete the conversation, or restore what the store held before."
    )


def _dumped(line: Line) -> tuple[Line, bytes]:
    try:
        return line, _adapter().dump_json(line) + b"\n"
    except PydanticSerializationError:
        # Half of a surrogate pair, which JSON can carry and UTF-8 cannot: code may print one.
        data = to_json(_mended(_adapter().dump_python(line, mode="python")))
        return _adapter().validate_json(data), data + b"\n"


def _mended(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {key: _mended(item) for key, item in value.items()}
        case list() | tuple():
            return [_mended(item) for item in value]
    return value


def _has_content(file: File) -> bool:
    return file.url.startswith("data:")


def _without_content(file: File) -> File:
    return replace(file, url="") if _has_content(file) else file


def _with_short_outputs(turn: Turn, max_chars: int) -> Turn:
    def of_execution(run: Execution) -> Execution:
        return replace(
            run,
            stdout=shortened(run.stdout, max_chars),
            stderr=shortened(run.stderr, max_chars),
            result=None if run.result is None else shortened(run.result, max_chars),
            outputs=tuple(map(of_output, run.outputs)),
        )

    def of_output(output: Output) -> Output:
        if isinstance(output, ImageOutput):
            return output
        return replace(output, text=shortened(output.text, max_chars // 10))

    def of_message(message: Message) -> Message:
        if message.role != "tool":
            return message
        return replace(message, text=shortened(message.text, max_chars))

    return replace(
        turn,
        executions=tuple(map(of_execution, turn.executions)),
        messages=tuple(map(of_message, turn.messages)),
    )
