r"""Names of files in a session: any bytes there, text that names each of them here.

A name is a path relative to /mnt/data. A byte that is not UTF-8 and a control
character are shown as `\xNN`; so that no two files have one name, a backslash before what looks
like such an escape is shown as `\x5c`.
"""

import re
import unicodedata
from collections.abc import Collection
from typing import Final

# A file system's 255 bytes, with room for a suffix and a number.
_STEM_MAX_BYTES: Final = 180
_SUFFIX_MAX_CHARS: Final = 12
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


def plain_name(text: str, taken: Collection[str] = ()) -> str:
    """The nearest name that the service takes, without a folder, which no file has yet.

    Args:
        text: for example the end of an address.
        taken: names of other files; `data.csv` becomes `data-2.csv`.
    """
    last = re.split(r"[/\\]", text.rstrip("/\\ "))[-1]
    kept = "".join(c if is_plain(f"a{c}a") else "_" for c in unicodedata.normalize("NFC", last))
    stem, dot, suffix = kept.strip(" .").rpartition(".")
    if not stem or len(suffix) > _SUFFIX_MAX_CHARS:
        stem, dot, suffix = kept.strip(" ."), "", ""
    stem = stem.encode()[:_STEM_MAX_BYTES].decode(errors="ignore").strip(" .") or "file"
    number, name = 1, f"{stem}{dot}{suffix}"
    while name in taken:
        number += 1
        name = f"{stem}-{number}{dot}{suffix}"
    return name


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
