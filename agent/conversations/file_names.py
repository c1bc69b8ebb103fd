"""Which names a conversation's file may have, and which media type a name means."""

import mimetypes
import unicodedata
from typing import Final

from agent.errors import InvalidRequestError

NAME_MAX_BYTES: Final = 255
_MARKS: Final = "-_ .@$&=;,#%^()"
_RULE: Final = (
    "A file name has letters, digits, spaces and - _ . @ $ & = ; , # % ^ ( ), "
    f"at most {NAME_MAX_BYTES} bytes, and does not end with a dot."
)

# The table of the language alone, so that every machine says the same.
_TYPES: Final = mimetypes.MimeTypes(filenames=())
for _extension, _type in {
    ".avif": "image/avif",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".feather": "application/vnd.apache.arrow.file",
    ".ipynb": "application/x-ipynb+json",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".webp": "image/webp",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}.items():
    _TYPES.add_type(_type, _extension)


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


def media_type_of(name: str) -> str:
    """What a file of that name is taken for; what an uploader says of it is not to be trusted."""
    guess, encoding = _TYPES.guess_file_type(name, strict=True)
    match encoding:
        case None:
            return guess or "application/octet-stream"
        case "gzip":
            return "application/gzip"
    return "application/octet-stream"
