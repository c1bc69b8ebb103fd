"""Links that models write to files of their session, as addresses that a caller can open.

Models that were trained on another product's sandbox link to `sandbox:/mnt/data/plot.png`, whatever
their instructions say. Such a link leads nowhere: what takes its place is the file's address, or
its bare name where it has none.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

_WORD: Final = "sandbox:"
_LETTERS: Final = frozenset(_WORD + _WORD.upper())
_SCHEME: Final = re.compile(_WORD, re.IGNORECASE | re.ASCII)
# A prose colon is no link: a slash or the folder follows.
_BEGINNING: Final = re.compile(
    r"sandbox:(?:/{1,3}(?:mnt/data/)?|mnt/data/)", re.IGNORECASE | re.ASCII
)
_BEGINNING_MAX_CHARS: Final = len("sandbox:///mnt/data/")
# What is longer is none.
_LINK_MAX_CHARS: Final = 512
# What opened a link says what ends it, so that a name in parentheses may have spaces.
_ENDS: Final = {"(": ")\n", "<": ">\n", '"': '"\n', "'": "'\n", "`": "`\n"}
_ENDS_OF_BARE: Final = " \t\r\n()[]{}<>\"'`|"
_PUNCTUATION: Final = ".,;:!?*_"


class SandboxLinks:
    """Replaces the links in one message, piece by piece as it comes.

    Args:
        addresses: file name → where the caller gets it; read when a link is complete.
    """

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = addresses
        self._held = ""
        self._before = ""  # the last character that was given out

    def feed(self, piece: str) -> str:
        """What of the message is ready; the beginning of a link waits for its end."""
        return self._give(self._held + piece, is_last=False)

    def end(self) -> str:
        """The rest of the message."""
        return self._give(self._held, is_last=True)

    def _give(self, text: str, *, is_last: bool) -> str:
        ready: list[str] = []
        done = 0
        while found := _SCHEME.search(text, done):
            at = found.start()
            begun = _BEGINNING.match(text, at)
            if begun is None:
                if not is_last and len(text) - at < _BEGINNING_MAX_CHARS:
                    break  # the next piece tells
                ready.append(text[done : found.end()])
                done = found.end()
                continue
            end = self._end_of(text, at, begun.end())
            if end is None and len(text) - at > _LINK_MAX_CHARS:
                ready.append(text[done : begun.end()])
                done = begun.end()
                continue
            if end is None and not is_last:
                break
            ready.append(text[done:at])
            done = self._bare_end(text, at, begun.end(), len(text)) if end is None else end
            ready.append(self._target(text[begun.end() : done]))
        else:
            at = len(text) if is_last else len(text) - _begun_at_the_end(text[done:])
        ready.append(text[done:at])
        self._held = text[at:]
        given = "".join(ready)
        self._before = given[-1:] or self._before
        return given

    def _end_of(self, text: str, at: int, path_at: int) -> int | None:
        """Where the path ends that begins at `path_at`; None if the text ends first."""
        opener = text[at - 1] if at else self._before
        ends, depth = _ENDS.get(opener, _ENDS_OF_BARE), 0
        for position in range(path_at, min(len(text), at + _LINK_MAX_CHARS)):
            character = text[position]
            if opener == "(" and character == "(":
                depth += 1
            elif character in ends:
                if character == ")" and depth:
                    depth -= 1
                    continue
                return self._bare_end(text, at, path_at, position)
        return None

    def _bare_end(self, text: str, at: int, path_at: int, position: int) -> int:
        """The same position, or before the punctuation that follows a link in a sentence."""
        if (text[at - 1] if at else self._before) in _ENDS:
            return position
        return path_at + len(text[path_at:position].rstrip(_PUNCTUATION))

    def _target(self, path: str) -> str:
        """What takes the place of a link to `path`; a title in Markdown's quotes stays."""
        path, quote, title = path.partition(' "')
        name = unquote(path)
        address = self._addresses.get(name) or self._addresses.get(path)
        if address is None or address.startswith("data:"):
            # A data: URL would be the whole file, in the middle of a text that the model reads.
            address = name
        return f"{address}{quote}{title}"


def _begun_at_the_end(text: str) -> int:
    """How many characters at the end of the text may be the beginning of the scheme."""
    if text[-1:] not in _LETTERS:
        return 0
    low = text[1 - len(_WORD) :].lower()
    return next((n for n in range(len(_WORD) - 1, 0, -1) if low.endswith(_WORD[:n])), 0)
