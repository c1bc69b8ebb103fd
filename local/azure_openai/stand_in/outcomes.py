"""The outcome of a tool call, read from its text: output, result, errors, and whether it failed."""

import re
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import from_json

_LABEL: Final = re.compile(r"^(result|outputs|stdout|stderr|status|note|error):[ \t]*", re.I | re.M)
_GOOD: Final = frozenset({"", "success", "succeeded", "ok", "completed", "complete"})
_FAILURE: Final = re.compile(r"Traceback \(most recent call last\)|^\s*Error\b", re.IGNORECASE)


@dataclass(frozen=True)
class Outcome:
    """One tool call's end.

    Attributes:
        failed: whether the tool says so.
        output: what to tell the user: printed text, result and notes.
        error: what to tell the user if it failed.
    """

    failed: bool
    output: str
    error: str


def read_outcome(text: str) -> Outcome:
    """Reads JSON with the fields of an execution, the same as labelled text, or plain text."""
    fields = _json_fields(text) or _labelled_fields(text)
    if fields is None:
        failed = bool(_FAILURE.search(text))
        return Outcome(failed, text.strip(), text.strip() if failed else "")
    status = fields.get("status", "")
    error = fields.get("error", "")
    failed = status.lower() not in _GOOD or bool(error)
    texts = [fields.get(name, "") for name in ("stdout", "result", "outputs", "note")]
    output = "\n".join(part for part in texts if part)
    because = [error, fields.get("stderr", ""), fields.get("note", "")]
    return Outcome(failed, output, "\n".join(part for part in because if part))


def _json_fields(text: str) -> dict[str, str] | None:
    try:
        value = from_json(text)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    fields = {str(name).lower(): _as_text(part) for name, part in value.items()}
    return fields if fields.keys() & {"stdout", "stderr", "result", "status", "error"} else None


def _labelled_fields(text: str) -> dict[str, str] | None:
    parts = _LABEL.split(text)
    if len(parts) < 3 or parts[0].strip():
        return None
    return {
        label.lower(): value.strip() for label, value in zip(parts[1::2], parts[2::2], strict=True)
    }


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else str(value)
