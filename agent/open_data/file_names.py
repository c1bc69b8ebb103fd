"""What a downloaded file is called: a name that every session and every store takes."""

import mimetypes
import re
import unicodedata
from typing import Final
from urllib.parse import unquote

# Of up to 4 bytes each; a name may have 255.
_MAX_CHARS: Final = 60
_EXTENSION_MAX_CHARS: Final = 12
# RFC 6266, as far as hosts use it. https://www.rfc-editor.org/rfc/rfc6266#section-4.1
_EXTENDED: Final = re.compile(r"filename\*\s*=\s*(utf-8|iso-8859-1)'[^']*'([^;\s]*)", re.IGNORECASE)
_ORDINARY: Final = re.compile(r'filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))', re.IGNORECASE)
_UNUSUAL: Final = re.compile(r"[^\w.-]+")
# The language's own table without the machine's files, so that every machine gives one answer.
_TYPES: Final = mimetypes.MimeTypes(filenames=())
_FALLBACK: Final = "data"


def file_name(*, disposition: str, path: str, content_type: str) -> str:
    """A plain name: letters, digits, `-`, `_` and `.`; no path, not hidden.

    Args:
        disposition: the header Content-Disposition, whose file name goes first.
        path: of the URL; its last part is the name.
        content_type: tells the extension of a name that has none.
    """
    name = _plain(_disposed(disposition)) or _plain(unquote(path)) or _FALLBACK
    if "." not in name:
        name += _TYPES.guess_extension(content_type) or ""
    return name


def _disposed(disposition: str) -> str:
    if found := _EXTENDED.search(disposition):
        return unquote(found[2], found[1])
    found = _ORDINARY.search(disposition)
    return (found[1] or found[2] or "").strip() if found else ""


def _plain(text: str) -> str:
    last = re.split(r"[/\\]", text.rstrip("/\\"))[-1]
    name = _UNUSUAL.sub("_", unicodedata.normalize("NFC", last)).strip("._-")
    if len(name) <= _MAX_CHARS:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension) > _EXTENSION_MAX_CHARS:
        return name[:_MAX_CHARS].rstrip("._-")
    return f"{stem[: _MAX_CHARS - len(extension) - 1].rstrip('._-')}.{extension}"
