"""What an execution leaves behind: its value, its images, its traceback."""

import base64
import json
import math
from dataclasses import dataclass, field
from typing import Any

from .frames import MAX_BLOBS_BYTES, MAX_RESULT_CHARS

IMAGE_TYPES = ("image/png", "image/jpeg")
# Formats of a Jupyter output that are passed on as text.
TEXT_TYPES = ("text/plain", "text/html", "text/markdown", "text/latex", "image/svg+xml")


@dataclass
class ResultCollector:
    """Gathers what one cell displays.

    Attributes:
        kind: what the last expression came to; "nothing" when the cell has none.
        value: the last expression as JSON, when kind is "value".
        outputs: everything shown, as Jupyter outputs; an image holds an index into `blobs`.
    """

    kind: str = "nothing"
    value: Any = None
    outputs: list[dict[str, Any]] = field(default_factory=list)
    blobs: list[tuple[str, bytes]] = field(default_factory=list)
    _room_bytes: int = MAX_BLOBS_BYTES
    _room_chars: int = MAX_RESULT_CHARS

    def displayed(self, bundle: dict[str, Any]) -> None:
        """`display(...)` was called, or a figure was shown."""
        self._add("display_data", bundle)

    def result(self, value: object, bundle: dict[str, Any], execution_count: int) -> None:
        """The last expression of the cell has a value."""
        if any(media_type in bundle for media_type in IMAGE_TYPES):
            self.kind = "image"
        elif value is None:
            self.kind = "none"
        else:
            self.kind = "value"
            self.value = as_json(value, str(bundle.get("text/plain", "")))
        if value is not None:
            self._add("execute_result", bundle, execution_count=execution_count)

    def clear(self) -> None:
        """`clear_output()` was called."""
        self.outputs.clear()
        self.blobs.clear()
        self._room_bytes = MAX_BLOBS_BYTES
        self._room_chars = MAX_RESULT_CHARS

    def _add(self, output_type: str, bundle: dict[str, Any], **extra: int) -> None:
        data: dict[str, Any] = {}
        for media_type in IMAGE_TYPES:
            if media_type not in bundle:
                continue
            image = _image_bytes(bundle[media_type])
            if image is not None and len(image) <= self._room_bytes:
                self._room_bytes -= len(image)
                data[media_type] = {"blob": len(self.blobs)}
                self.blobs.append((media_type, image))
                break  # the same picture once: PNG if there is one
        for media_type in TEXT_TYPES:
            text = bundle.get(media_type)
            if isinstance(text, str) and self._room_chars > 0:
                data[media_type] = text[: self._room_chars]
                self._room_chars -= len(data[media_type])
        # Many tiny outputs would fill a frame with their envelopes alone.
        self._room_chars -= 200
        if data:
            self.outputs.append({"output_type": output_type, "data": data, "metadata": {}, **extra})


def as_json(value: object, text: str) -> Any:
    """Return `value` as JSON can hold it, else its text.

    The service's answer has the type of the value itself after JSON serialization; what JSON does
    not know, such as a data frame or NaN, arrives as text.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    if isinstance(value, str):
        return value[:MAX_RESULT_CHARS]
    try:
        encoded = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError, MemoryError):
        return text[:MAX_RESULT_CHARS]
    if len(encoded) > MAX_RESULT_CHARS:
        return text[:MAX_RESULT_CHARS]
    return json.loads(encoded)


def _image_bytes(data: object) -> bytes | None:
    if isinstance(data, bytes):
        return data
    if isinstance(data, str):
        try:
            return base64.b64decode(data)
        except ValueError:
            return None
    return None
