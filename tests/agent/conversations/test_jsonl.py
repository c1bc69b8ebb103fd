"""Reading the end of a long file of lines."""

import pytest

from agent.conversations.jsonl import Decoder, Line, encode, read_newest
from tests.agent.conversations.samples import turn
from tests.support.loops import loop_turns

LINES = [b"one\n", b"two\n", b"three\n", b"four\n"]
WHOLE = b"".join(LINES)


async def newest(max_bytes: int, data: bytes = WHOLE) -> bytes:
    async def read(start: int, end: int) -> bytes:
        return data[start:end]

    return await read_newest(read, len(data), max_bytes)


@pytest.mark.parametrize("max_bytes", range(5, len(WHOLE) + 3))
async def test_as_many_whole_lines_are_read_as_fit(max_bytes: int) -> None:
    ends = [b"".join(LINES[first:]) for first in range(len(LINES))]
    assert await newest(max_bytes) == next(end for end in ends if len(end) <= max_bytes)


@pytest.mark.parametrize("max_bytes", [1, 2, 4])
async def test_a_last_line_that_is_too_long_is_read_all_the_same(max_bytes: int) -> None:
    assert (await newest(max_bytes)).endswith(b"four\n")
    assert await newest(max_bytes, b"x" * 1000 + b"\n") == b"x" * 1000 + b"\n"


async def test_nothing_is_read_of_nothing() -> None:
    assert await newest(1, b"") == b""


@pytest.mark.parametrize(
    ("printed_chars", "at_least", "at_most"),
    # A line at a time, of one history at a time; short ones need not wait for anything.
    [(10_000, 2 * 20, 10 * 20), (10, 0, 10)],
)
async def test_long_histories_are_decoded_without_holding_the_loop(
    printed_chars: int, at_least: int, at_most: int
) -> None:
    told = turn(printed="x" * printed_chars)
    data = b"".join(encode(Line(n, told), 1024**2)[1] for n in range(1, 21))
    decoder = Decoder()
    turns = await loop_turns(decoder.decode(data), decoder.decode(data))
    assert at_least <= turns <= at_most
    assert [line.number for line in await decoder.decode(data)] == list(range(1, 21))
