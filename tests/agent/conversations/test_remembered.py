"""How much is remembered of conversations, and of which."""

from datetime import UTC, datetime

from agent.conversations.owner import ANONYMOUS
from agent.conversations.records import Conversation
from agent.conversations.remembered import (
    EACH_MAX_BYTES,
    REMEMBERED_BYTES,
    Remembered,
    RememberedConversations,
)

CONVERSATION = Conversation("0" * 32, ANONYMOUS, datetime(2026, 1, 2, tzinfo=UTC))


def left(size_bytes: int) -> Remembered[str]:
    return Remembered(CONVERSATION, size_bytes, "mark")


def remembering(hold_max_bytes: int = EACH_MAX_BYTES) -> RememberedConversations[str]:
    return RememberedConversations(hold_max_bytes)


def test_what_is_remembered_is_taken_once() -> None:
    remembered = remembering()
    remembered.put("a", left(10))
    assert remembered.take("a") == left(10)
    assert remembered.take("a") is None


def test_the_newest_stay_as_far_as_there_is_room() -> None:
    remembered = remembering()
    count = REMEMBERED_BYTES // EACH_MAX_BYTES
    for number in range(2 * count):
        remembered.put(str(number), left(EACH_MAX_BYTES))
    there = [number for number in range(2 * count) if remembered.take(str(number))]
    assert there == list(range(count, 2 * count))


def test_what_is_taken_or_put_again_leaves_room() -> None:
    remembered = remembering()
    count = REMEMBERED_BYTES // EACH_MAX_BYTES
    for _ in range(2 * count):
        remembered.put("a", left(EACH_MAX_BYTES))
        remembered.put("b", left(EACH_MAX_BYTES))
        remembered.take("b")
    for number in range(count - 1):
        remembered.put(str(number), left(EACH_MAX_BYTES))
    assert remembered.take("a")


def test_what_is_long_or_not_known_is_not_remembered() -> None:
    remembered = remembering()
    for unknown in (left(EACH_MAX_BYTES + 1), None):
        remembered.put("a", left(1))
        remembered.put("a", unknown)
        assert remembered.take("a") is None


def test_what_is_longer_than_a_turn_may_read_is_not_remembered() -> None:
    remembered = remembering(hold_max_bytes=100)
    remembered.put("a", left(101))
    assert remembered.take("a") is None


def test_what_others_go_on_with_is_not_remembered() -> None:
    remembered = remembering()
    remembered.is_elsewhere_too("a")
    remembered.put("a", left(1))
    remembered.put("b", left(1))
    assert remembered.take("a") is None
    assert remembered.take("b")
