"""What a held conversation is in every store: turns are added to it while the hold lasts."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Self

from agent.conversations.lines import Line, encode
from agent.conversations.records import Conversation, Turn
from agent.errors import HoldLostError

# Writes bytes behind so many others, wholly or not at all. Cancelled, it first ends what it does.
type Write = Callable[[bytes, int], Awaitable[None]]


class AppendedConversation:
    """A `HeldConversation`, ours while the block runs.

    Args:
        conversation: as it was read.
        size_bytes: of its history in the store.
        turn_max_bytes: of one stored turn.
        write: adds to the history.
    """

    def __init__(
        self, conversation: Conversation, size_bytes: int, turn_max_bytes: int, write: Write
    ) -> None:
        self._conversation = conversation
        self._size_bytes = size_bytes
        self._turn_max_bytes = turn_max_bytes
        self._write = write
        self._ended = False

    @property
    def conversation(self) -> Conversation:
        """See HeldConversation."""
        return self._conversation

    async def append(self, turn: Turn) -> None:
        """See HeldConversation."""
        if self._ended:
            raise HoldLostError("The turn ended before it was added.")
        before = self._conversation
        line, data = encode(Line(before.turn_count + 1, turn), self._turn_max_bytes)
        try:
            await self._write(data, self._size_bytes)
        except asyncio.CancelledError:
            # It may be written: nobody should write over it, or add to what is not known.
            self._ended = True
            raise
        self._size_bytes += len(data)
        self._conversation = replace(before, turns=(*before.turns, line.turn))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
