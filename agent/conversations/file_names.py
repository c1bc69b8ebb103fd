"""The names that a conversation's file may have."""

import unicodedata
from typing import Final

from agent.errors import InvalidRequestError

NAME_MAX_BYTES: Final = 255
_MARKS: Final = "-_ .@$&=;,#%^()"
_RULE: Final = (
    "A file name has letters, digits, spaces and - _ . @ $ & = ; , # % ^ ( ), "
    f"at most {NAME_MAX_BYTES} bytes, and does not end with a dot."
)


def checked_name(name: str) -> str:
    """A name that the session pool and both stores take, in Unicode's composed form.

    The pool's rule: letters, digits and those marks, https://learn.microsoft.com/azure/container-apps/sessions-code-interpreter
    Azure Blob adds that no name may end with a dot.

    Raises:
        InvalidRequestError: it is not such a name.
    """
    # macOS hands out é as e and an accent; the same file typed elsewhere would be another one.
    name = unicodedata.normalize("NFC", name)
    # Categories L*, M* and N*: letters, their accents and digits of any script.
    plain = all(c in _MARKS or unicodedata.category(c)[0] in "LMN" for c in name)
    fits = 0 < len(name.encode("utf-8", "replace")) <= NAME_MAX_BYTES
    if not plain or not fits or name.endswith(".") or name.isspace():
        raise InvalidRequestError(_RULE, field="name")
    return name
