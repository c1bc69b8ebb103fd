"""Conversations whose last turn this worker wrote: it need not read them again for the next one.

A store finds out by a mark of its own whether anybody else has changed one since. What is not here
is read as ever: because others wrote it, because it is long, or because newer ones took its place.
"""

from typing import Final

from agent.conversations.records import Conversation
from agent.frozen import frozen

# Of all histories together, as they are stored; in memory it is about twice that.
REMEMBERED_BYTES: Final = 512 * 1024
# To read a longer history is a small part of what its turn costs.
EACH_MAX_BYTES: Final = 64 * 1024
_ELSEWHERE_MAX: Final = 1000


@frozen
class Remembered[Mark]:
    """A conversation as its last turn left it.

    Attributes:
        conversation: of each turn what the next one needs.
        size_bytes: of its history.
        mark: what the store knows it by, as long as nobody changes it.
    """

    conversation: Conversation
    size_bytes: int
    mark: Mark


class RememberedConversations[Mark]:
    """Those that were gone on with last, up to a limit; of one store."""

    def __init__(self, hold_max_bytes: int) -> None:
        """Args: how much of a history a turn reads; a longer one would have to be cut."""
        self._each_max_bytes = min(EACH_MAX_BYTES, hold_max_bytes)
        self._all: dict[str, Remembered[Mark]] = {}
        self._size_bytes = 0
        self._elsewhere: dict[str, None] = {}

    def take(self, place: str) -> Remembered[Mark] | None:
        """The conversation at this place, which is forgotten: a turn changes it, or others have."""
        remembered = self._all.pop(place, None)
        if remembered is not None:
            self._size_bytes -= remembered.size_bytes
        return remembered

    def put(self, place: str, left: Remembered[Mark] | None) -> None:
        """Remember a conversation as a turn left it, if that is known."""
        self.take(place)
        if left is None or left.size_bytes > self._each_max_bytes or place in self._elsewhere:
            return
        self._all[place] = left
        self._size_bytes += left.size_bytes
        while self._size_bytes > REMEMBERED_BYTES:
            self.take(next(iter(self._all)))

    def is_elsewhere_too(self, place: str) -> None:
        """Remember a conversation no more: other workers go on with it.

        Where finding that out costs something, it is done once.
        """
        self._elsewhere[place] = None
        if len(self._elsewhere) > _ELSEWHERE_MAX:
            del self._elsewhere[next(iter(self._elsewhere))]
