r"""Names of files in a session: any bytes there, text that names each of them here.

A name is a path relative to /mnt/data. A byte that is not UTF-8 is shown as `\xNN`; so that no two
files have one name, a backslash before what looks like such an escape is shown as `\x5c`.
"""

import re
import unicodedata
from typing import Final

_MARKS: Final = "-_ .@$&=;,#%^()"
_LOOKS_ESCAPED: Final = re.compile(r"\\(?=x(?:5c|[89a-f][0-9a-f]))")
_ESCAPED: Final = re.compile(r"\\x(5c|[89a-f][0-9a-f])")


def name_of(path: bytes) -> str:
    """How a path in a session is called here."""
    text = _LOOKS_ESCAPED.sub(r"\\x5c", path.decode("utf-8", "surrogateescape"))
    return "".join(f"\\x{ord(c) - 0xDC00:02x}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in text)


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
