"""Bounds the number of values in a JSON body before any of them is built.

Parsers hold Python's lock from the first byte to the last: three bytes of JSON are one object and
four microseconds, so that a body of 16 MB stops the whole worker for 20 s. Counting costs a
hundredth, and lets others work meanwhile.
"""

import re
from typing import Final

from agent.errors import PayloadTooLargeError

# 2,048 messages have a quarter of them.
TOKENS_MAX: Final = 50_000

# A text, to its end or to that of the body; or what begins an object, a list or its next entry.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\Z)|[{\[,]', re.DOTALL)


def check_tokens(body: bytes | bytearray) -> None:
    """Refuse JSON that is made of too many pieces; how long its texts are does not count.

    Raises:
        PayloadTooLargeError: it is.
    """
    # What stands in texts is counted too, so that there may be fewer, never more. Each text has
    # two of the marks.
    if sum(body.count(mark) for mark in (b'"', b",", b"[", b"{")) <= TOKENS_MAX:
        return
    if _has_too_many(body):
        raise PayloadTooLargeError(
            f"The body has more than {TOKENS_MAX:,} texts, objects, lists and entries. "
            "Leave out what the answer does not need, old messages first."
        )


def _has_too_many(body: bytes | bytearray) -> bool:
    return any(count > TOKENS_MAX for count, _ in enumerate(_TOKEN.finditer(body), start=1))
