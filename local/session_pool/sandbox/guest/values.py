"""Values and formats that code made, as the frames of the channel can hold them."""

import base64
import contextlib
import json
import math
import re
import sys
from typing import Any

from .frames import MAX_RESULT_CHARS, MAX_RESULT_DEPTH, printable

IMAGE_TYPES = ("image/png", "image/jpeg")
# Formats that Jupyter carries as base64, besides the images above.
_BINARY_TYPES = (*IMAGE_TYPES, "image/gif", "image/webp", "application/pdf")
_HALVES = re.compile("[\ud800-\udfff]")
_MAX_METADATA_BYTES = 1 << 10


def as_json(value: object, text: str) -> Any:
    """Return `value` as JSON can hold it, else its text.

    The service's answer has the type of the value itself after JSON serialization; what JSON does
    not know, such as a data frame or NaN, arrives as text, as does what is nested so deep that
    readers of JSON refuse it.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    if isinstance(value, str):
        return _cut(printable(value))
    try:
        encoded = json_text(value)
        if len(encoded) <= MAX_RESULT_CHARS and not _is_deep(encoded):
            return json.loads(encoded)
    except (TypeError, ValueError, RecursionError, MemoryError):
        pass
    return _cut(printable(text))


def json_text(value: object) -> str:
    """Return `value` as JSON in which half a surrogate pair is escaped twice: as text, not as half.

    Raises:
        TypeError, ValueError, RecursionError: JSON cannot hold it.
    """
    encoded = json.dumps(value, allow_nan=False, ensure_ascii=False)
    return _HALVES.sub(lambda half: rf"\\u{ord(half[0]):04x}", encoded)


def _cut(text: str) -> str:
    if len(text) > MAX_RESULT_CHARS:
        left_out = len(text) - MAX_RESULT_CHARS
        say(f"[the last {left_out:,} characters of the result's {len(text):,} are left out]")
    return text[:MAX_RESULT_CHARS]


def _is_deep(encoded: str) -> bool:
    if encoded.count("[") + encoded.count("{") <= MAX_RESULT_DEPTH:
        return False
    depth, in_text, escaped = 0, False, False
    for char in encoded:
        if in_text:
            in_text = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char in "[{":
            depth += 1
            if depth > MAX_RESULT_DEPTH:
                return True
        elif char in "]}":
            depth -= 1
        else:
            in_text = char == '"'
    return False


def parts_of(bundle: dict[str, Any]) -> dict[str, str | bytes]:
    """Return each format of a bundle as text or bytes; one picture of PNG and JPEG."""
    data: dict[str, str | bytes] = {}
    for media_type, part in bundle.items():
        converted = _part(media_type, part)
        if converted is not None and isinstance(media_type, str):
            data[printable(media_type)[:200]] = converted
    if all(media_type in data for media_type in IMAGE_TYPES):
        del data["image/jpeg"]
    return data


def _part(media_type: str, part: object) -> str | bytes | None:
    if isinstance(part, bytes | bytearray):
        return bytes(part)
    if isinstance(part, str):
        if media_type in _BINARY_TYPES:
            try:
                return base64.b64decode(part)
            except ValueError:
                return None
        return printable(part)
    try:
        return json_text(part)
    except (TypeError, ValueError, RecursionError):
        return None


def small_metadata(metadata: dict[str, Any] | None) -> dict[str, Any]:
    """Return the metadata of a bundle if it is small JSON: sizes of images, and the like."""
    if not metadata:
        return {}
    try:
        encoded = json_text(metadata)
        if len(encoded.encode()) <= _MAX_METADATA_BYTES:
            return dict(json.loads(encoded))
    except (TypeError, ValueError, RecursionError):
        pass
    return {}


def say(line: str) -> None:
    """Name the omitted parts, on stderr."""
    with contextlib.suppress(Exception):  # the code may have replaced or closed it
        print(line, file=sys.stderr, flush=True)
