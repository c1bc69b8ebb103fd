"""What a cell showed, read from whatever form the pool answers in.

`returnJupyterFormatExecutionResult` is documented without a shape, so each that is likely is read:
a list of Jupyter's outputs, an object with that list under `outputs`, one mime bundle, the same as
a text of JSON, and the plain value of an answer without the flag.
https://nbformat.readthedocs.io/en/latest/format_description.html#code-cell-outputs
"""

import ast
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Final

from pydantic import JsonValue

from agent.frozen import frozen

_KINDS: Final = frozenset(
    {"stream", "display_data", "execute_result", "error", "update_display_data", "pyout", "pyerr"}
)
_MEDIA_TYPE: Final = re.compile(r"[a-z]+/[\w.+-]+")
_ANSI: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_STRING: Final = re.compile(r"""\s*['"]""")


@frozen
class Shown:
    """One output of a cell.

    Attributes:
        formats: the same thing in several formats, by media type: text, base64 for what is binary,
            or JSON.
        is_result: whether it is the value of the last expression.
    """

    formats: Mapping[str, JsonValue]
    is_result: bool = False


@frozen
class CellOutputs:
    """All that an answer says of a cell's outputs.

    Attributes:
        shown: in order.
        stdout: what streams among the outputs say; the answer has fields of its own for it.
        stderr: likewise, tracebacks included.
        in_jupyter_format: whether the answer was in that format; None if it could be either.
    """

    shown: tuple[Shown, ...] = ()
    stdout: str = ""
    stderr: str = ""
    in_jupyter_format: bool | None = field(default=False)


def read_outputs(value: JsonValue, *, jupyter: bool) -> CellOutputs:
    """What `executionResult` means.

    Args:
        value: of that field.
        jupyter: whether Jupyter's format was asked for; otherwise it is the plain value.
    """
    if jupyter:
        outputs = _jupyter_list(value)
        if outputs is None and isinstance(value, str) and value[:1] in "[{" and '"' in value:
            outputs = _jupyter_list(_json(value))
        if outputs is not None:
            return _read_list(outputs)
        if value in ([], {}):
            return CellOutputs(in_jupyter_format=None)
    return CellOutputs(_plain(value))


def _jupyter_list(value: JsonValue) -> Sequence[Mapping[str, JsonValue]] | None:
    match value:
        case {"outputs": list(inner)}:
            return _jupyter_list(inner) or (() if not inner else None)
        case {"data": dict(data)} if data and _is_bundle(data):
            return [{"output_type": "execute_result", "data": data}]
        case dict() if value and _is_bundle(value):
            return [{"output_type": "execute_result", "data": value}]
        case list() if value and all(_is_output(item) for item in value):
            return [item for item in value if isinstance(item, dict)]
    return None


def _is_output(value: JsonValue) -> bool:
    return isinstance(value, dict) and value.get("output_type") in _KINDS


def _is_bundle(value: Mapping[str, JsonValue]) -> bool:
    return all(_MEDIA_TYPE.fullmatch(name) for name in value)


def _read_list(outputs: Sequence[Mapping[str, JsonValue]]) -> CellOutputs:
    shown: list[Shown] = []
    streams: dict[str, list[str]] = {"stdout": [], "stderr": []}
    for output in outputs:
        match output:
            case {"output_type": "stream", "text": text}:
                streams["stderr" if output.get("name") == "stderr" else "stdout"].append(
                    _text(text)
                )
            case {"output_type": "error" | "pyerr"}:
                traceback = output.get("traceback")
                lines = traceback if isinstance(traceback, list) else [traceback]
                streams["stderr"].append(_ANSI.sub("", "\n".join(map(_text, lines))))
            case {"data": dict(data)} if data:
                is_result = output["output_type"] in ("execute_result", "pyout")
                shown.append(Shown(_formats(data, is_result=is_result), is_result))
    return CellOutputs(tuple(shown), "".join(streams["stdout"]), "\n".join(streams["stderr"]), True)


def _formats(data: Mapping[str, JsonValue], *, is_result: bool) -> Mapping[str, JsonValue]:
    formats = {
        name: value if name.endswith(("/json", "+json")) else _text(value)
        for name, value in data.items()
    }
    plain = formats.get("text/plain")
    if is_result and len(formats) == 1 and isinstance(plain, str) and _STRING.match(plain):
        # A text as it reads, not in quotes and with escapes.
        formats["text/plain"] = _unquoted(plain)
    return formats


def _unquoted(text: str) -> str:
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, str) else text


def _plain(value: JsonValue) -> tuple[Shown, ...]:
    match value:
        case None | "":
            return ()
        case {"type": "image", "format": str(kind), "base64_data": str(data)} if kind.isalnum():
            # The service does not say whether it was shown or is the result.
            return (Shown({f"image/{kind.lower()}": data}),)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return (Shown({"text/plain": text}, is_result=True),)


def _text(value: JsonValue) -> str:
    """A text, which notebooks may keep as a list of lines."""
    match value:
        case str():
            return value
        case None:
            return ""
        case list():
            return "".join(map(_text, value))
    return json.dumps(value, ensure_ascii=False)


def _json(text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value
