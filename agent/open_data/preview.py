"""What the model reads of a file before it has looked into it."""

import codecs
from typing import Final

_LINES: Final = 5
_MAX_CHARS: Final = 500


def first_lines(content: bytes) -> str:
    """The first lines of a text in UTF-8, cut; nothing of what is no such text."""
    # Incremental: a character that the cut went through is left out.
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    try:
        text = decoder.decode(content[: 4 * _MAX_CHARS])
    except UnicodeDecodeError:
        return ""
    lines = text.splitlines()[:_LINES]
    return "" if "\0" in text else "\n".join(lines)[:_MAX_CHARS]
