"""The conversations of one owner in a folder, newest first: blocking functions, for threads.

The disk itself is the index: a history's time of change is when its last question was asked.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from agent.conversations.folder.disk import ConversationFolder, as_store_errors
from agent.conversations.jsonl import number_in, title_in

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HEAD_BYTES: Final = 16 * 1024

# When it changed, in ns since the epoch, and its id.
type Place = tuple[int, str]


def changed_ns(at: datetime) -> int:
    """A time as the disk keeps it."""
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000


def changed_at(place: Place) -> datetime:
    """The same as a time."""
    return _EPOCH + timedelta(microseconds=place[0] // 1000)


def newest(folder: Path, count: int, before: Place | None) -> list[Place]:
    """The newest conversations of an owner's folder, or those older than `before`."""
    found: list[Place] = []
    with as_store_errors():
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            return []
        for name in names:
            if name.startswith("."):
                continue  # comes or goes
            try:
                place = os.stat(f"{folder}/{name}/turns.jsonl").st_mtime_ns, name
            except (FileNotFoundError, NotADirectoryError):
                continue
            if before is None or place < before:
                found.append(place)
    found.sort(reverse=True)
    return found[:count]


def title_and_turns(conversation: ConversationFolder) -> tuple[str, int]:
    """What a list shows of a history, without reading all of it."""
    first, last = conversation.read_ends(_HEAD_BYTES)
    return title_in(first), number_in(last) if last else 0
