"""Which names a conversation's file may have, and what it is called in a store.

A name is a path: `report.csv`, `out/plots/a.png`. What is not UTF-8 in a session is escaped, see
`agent.session_pool.names`.
"""

import re
from typing import Final
from urllib.parse import unquote

from agent.errors import InvalidRequestError
from agent.session_pool.names import name_of, path_of

# As file systems have it, of each component; and of the whole, so that Azure Blob's 1,024 are kept.
NAME_MAX_BYTES: Final = 255
PATH_MAX_CHARS: Final = 600
_MAX_DEPTH: Final = 32
_RULE: Final = (
    f"A file name has at most {NAME_MAX_BYTES} bytes and is not `.` or `..`; with the folders "
    f"before it, each followed by a `/`, it has at most {PATH_MAX_CHARS} characters."
)
# What a store's names cannot hold, or would read as something else: controls, a backslash, which
# Azure Blob takes for a slash; what XML cannot say; a dot at either end.
_QUOTED: Final = re.compile("[\x00-\x1f\x7f-\x9f%/\\\\\ufffe\uffff]|^[.]|[. ]$")


def checked_name(name: str) -> str:
    """The name, if a file may be called so.

    Raises:
        InvalidRequestError: it may not.
    """
    parts = path_of(name).split(b"/")
    plain = all(0 < len(part) <= NAME_MAX_BYTES and part not in (b".", b"..") for part in parts)
    fits = len(name) <= PATH_MAX_CHARS >= len(stored_name(name)) and len(parts) <= _MAX_DEPTH
    # One name for each file: an escape of what needs none is another spelling.
    if not plain or not fits or "\0" in name or name_of(path_of(name)) != name:
        raise InvalidRequestError(_RULE, field="name")
    return name


def stored_name(name: str) -> str:
    """What the file is called in a store: one component, whatever the name has."""
    return _QUOTED.sub(lambda found: "".join(f"%{b:02X}" for b in found[0].encode()), name)


def name_of_stored(stored: str) -> str:
    """The file's own name."""
    return unquote(stored)
