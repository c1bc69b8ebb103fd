r"""Names of files in a session: any bytes there, text that names each of them here.

A name is a path relative to /mnt/data. A byte that is not UTF-8 and a control
character are shown as `\xNN`; so that no two files have one name, a backslash before what looks
like such an escape is shown as `\x5c`.
"""

import re
import unicodedata
from typing import Final

_MARKS: Final = "-_ .@$&=;,#%^()"
_BYTE: Final = "(5c|[01][0-9a-f]|7f|[89a-f][0-9a-f])"
_LOOKS_ESCAPED: Final = re.compile(rf"\\(?=x{_BYTE})")
_ESCAPED: Final = re.compile(rf"\\x{_BYTE}")
# Controls, which no address and no list can have, and what is not UTF-8.
_TO_ESCAPE: Final = re.compile("[\x00-\x1f\x7f\udc80-\udcff]")


def name_of(path: bytes) -> str:
    """How a path in a session is called here."""
    text = _LOOKS_ESCAPED.sub(r"\\x5c", path.decode("utf-8", "surrogateescape"))
    return _TO_ESCAPE.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", text)


def path_of(name: str) -> bytes:
    """The path of a file in a session, by its name."""
    parts = _ESCAPED.split(name)
    return b"".join(
        bytes([int(part, 16)]) if n % 2 else part.encode("utf-8", "surrogatepass")
        for n, part in enumerate(parts)
    )


def is_plain(name: str) -> bool:
    """Whether the service documents that it takes the name.

    Letters, digits and some marks, no dot in a folder:
    https://learn.microsoft.com/azure/container-apps/sessions-code-interpreter#file-naming
    """
    folder, _, last = name.rpartition("/")
    return (
        "." not in folder
        and last.strip(" .") == last
        and all(c in _MARKS or c == "/" or unicodedata.category(c)[0] in "LMN" for c in name)
    )
