"""Tool calls as models write them, met half-way: what is plainly a call runs, the rest is told why.

What goes back to the model is always valid: a name and an id that every service takes, and
arguments that are a JSON object. A service refuses the whole conversation for less.
"""

import json
import re
import secrets
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from pydantic_core import from_json

from agent.frozen import frozen
from agent.model.wire import Answer, whole_characters
from agent.text import shortened

# https://platform.openai.com/docs/api-reference/chat/create: of a function; Azure's of an id.
NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,40}")
# Mistral's templates take ids of nine letters and digits alone.
_ID_CHARS: Final = string.ascii_letters + string.digits
PARALLEL: Final = "parallel"
_QUOTE_MAX_CHARS: Final = 200
# What a model may leave around the name of a tool.
_PREFIXES: Final = re.compile(r"^(?:functions?|tools?|python|default_api)[.:/-]")
_FENCES: Final = ("```", "~~~")
# What begins like JSON and is none is broken; anything else may be the text itself.
_JSON_BEGINS: Final = re.compile(r"\s*+(?:\{|\"|\[\s*+[\"{])")
# {'code': '...'} as Python would write it, and JSON around a text in triple quotes.
_PYTHON_DICT: Final = re.compile(
    r"""\s*+\{\s*+(['"])(\w++)\1\s*+:\s*+('{3}|"{3}|')(.*)\3\s*+(?:,\s*+)?\}\s*+""", re.DOTALL
)
_CLOSERS: Final = re.compile(r"[\s\]})]*")
# Raw line breaks in strings are common in code.
_LENIENT: Final = json.JSONDecoder(strict=False)
# A text as JSON has it, with its quotation marks; an encoder is made anew for each object.
_quoted: Final[Callable[[str], str]] = json.encoder.encode_basestring


@frozen
class TextTool:
    """A function with one parameter, a text.

    Attributes:
        name: of the function.
        parameter: its name.
        meaning: of the parameter, in words for the model.
        aliases: what models call it who were trained with another one.
    """

    name: str
    parameter: str
    meaning: str
    aliases: frozenset[str] = frozenset()

    @property
    def usage(self) -> str:
        """How to call it."""
        return f'Call `{self.name}` with {{"{self.parameter}": "<{self.meaning}>"}}.'

    def read(self, arguments: str) -> str:
        """The arguments of a call, as JSON text.

        Raises:
            NotUnderstoodError: they are not what the tool takes.
        """
        return f'{{"{self.parameter}": {_quoted(_text_of(arguments, self))}}}'


@frozen
class ObjectTool:
    """A function with parameters of any kind.

    Attributes:
        name: of the function.
        parameters: their names.
        check: raises ValueError, whose message says it, where arguments are not what it takes.
        aliases: see TextTool.
    """

    name: str
    parameters: tuple[str, ...]
    check: Callable[[Mapping[str, object]], None]
    aliases: frozenset[str] = frozenset()

    @property
    def usage(self) -> str:
        """How to call it."""
        if not self.parameters:
            return f"Call `{self.name}` with {{}}."
        return f"Call `{self.name}` with a JSON object: {', '.join(self.parameters)}."

    def read(self, arguments: str) -> str:
        """The arguments of a call, as JSON text.

        Raises:
            NotUnderstoodError: they are not what the tool takes.
        """
        try:
            text = json.dumps(_object_of(arguments, self), ensure_ascii=False, allow_nan=False)
            text = whole_characters(text)
            self.check(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise NotUnderstoodError(str(error)) from None
        return text


type Tool = TextTool | ObjectTool


@frozen
class ToolRequest:
    """A tool call that can go back to the model.

    Attributes:
        id: names it once.
        name: of the tool, or what the model wrote in a form that services take.
        arguments: JSON text of an object.
        problem: why it does not run, for the model; empty if it does.
    """

    id: str
    name: str
    arguments: str
    problem: str = ""


class NotUnderstoodError(Exception):
    """The arguments are not what the tool takes; the message says what they are."""


def read_calls(answer: Answer, tools: Sequence[Tool], used_ids: set[str]) -> list[ToolRequest]:
    """The calls of a message, in order.

    Args:
        answer: the message.
        tools: all there are.
        used_ids: of earlier calls of the conversation; those of these calls are added.
    """
    is_cut = answer.finish_reason == "length"
    requests: list[ToolRequest] = []
    for call in answer.calls:
        for name, arguments in _unpacked(call.name, call.arguments):
            request = _read(name, arguments, tools, is_cut=is_cut)
            requests.append(_with_id(request, call.id, used_ids))
    return requests


def new_id(used_ids: set[str]) -> str:
    """An id that no other call has; it is added to them."""
    while True:
        id_ = "".join(secrets.choice(_ID_CHARS) for _ in range(9))
        if id_ not in used_ids:
            used_ids.add(id_)
            return id_


def valid_name(name: str) -> str:
    """The name of a tool, or the nearest that services take."""
    return name if NAME.fullmatch(name) else re.sub(r"[^a-zA-Z0-9_-]+", "_", name)[:64] or "unnamed"


def object_text(arguments: str) -> str | None:
    """Arguments as they can go back, None if they are no JSON object."""
    try:
        return arguments if isinstance(from_json(arguments, allow_inf_nan=False), dict) else None
    except ValueError:
        pass
    try:
        value = json.loads(arguments)
        if isinstance(value, dict):
            return whole_characters(json.dumps(value, ensure_ascii=False, allow_nan=False))
    except (ValueError, RecursionError):
        pass
    return None


def _with_id(request: tuple[str, str, str], id_: str, used_ids: set[str]) -> ToolRequest:
    if ID.fullmatch(id_) and id_ not in used_ids:
        used_ids.add(id_)
    else:
        id_ = new_id(used_ids)
    return ToolRequest(id_, *request)


def _unpacked(name: str, arguments: str) -> Iterator[tuple[str, str]]:
    """The calls inside `multi_tool_use.parallel`, or the call as it is."""
    if name.rpartition(".")[2] == PARALLEL:
        inner = _json_of(arguments)
        uses = inner.get("tool_uses") if isinstance(inner, dict) else None
        if isinstance(uses, list) and uses and all(isinstance(use, dict) for use in uses):
            for use in uses:
                inner_name = use.get("recipient_name") or use.get("name") or ""
                parameters = use.get("parameters", use.get("arguments"))
                yield str(inner_name), json.dumps(parameters)
            return
    yield name, arguments


def _read(
    name: str, arguments: str, tools: Sequence[Tool], *, is_cut: bool
) -> tuple[str, str, str]:
    """Name, arguments and problem of one call."""
    tool = _meant(name, tools)
    if tool is None:
        quote = shortened(name[:1000], _QUOTE_MAX_CHARS)
        usage = " ".join(tool.usage for tool in tools)
        given = object_text(arguments) or "{}"
        return valid_name(name), given, f"There is no tool {quote!r}. {usage}"
    if is_cut and object_text(arguments) is None:
        problem = (
            "Your message reached its token limit in the middle of this call, which did not run. "
            "Write less at once."
        )
        return tool.name, "{}", problem
    try:
        return tool.name, tool.read(arguments), ""
    except NotUnderstoodError as reason:
        given = object_text(arguments) or "{}"
        return tool.name, given, f"The call did not run: {reason}. {tool.usage}"


def _meant(name: str, tools: Sequence[Tool]) -> Tool | None:
    """The tool of that name, but for what models put around it: `functions.`, the plugin."""
    for tool in tools:
        if tool.name == name:
            return tool
    # What follows `<|` is the model's own markup, which its server did not take off.
    name = name[:200].partition("<|")[0].strip("`'\" \n\t()").lower()
    while (shorter := _PREFIXES.sub("", name)) != name:
        name = shorter
    name = plain_name(name)
    if not name and len(tools) == 1:
        return tools[0]  # a call without a name is a call of it
    return next((t for t in tools if name in (plain_name(t.name), *t.aliases)), None)


def plain_name(name: str) -> str:
    """What is alike in the ways to write a name."""
    return re.sub(r"[\s.:/-]+", "_", name.lower())


def _parsed(arguments: str) -> tuple[str, object]:
    """The text without a fence, and the JSON or the Python that it is; None if it is neither."""
    text = _unfenced(arguments)
    value = _json_of(text)
    if value is None and (match := _PYTHON_DICT.fullmatch(text)):
        value = {match[2]: _unescaped(match[4])}
    if isinstance(value, str) and isinstance(inner := _json_of(value), dict):
        value = inner  # JSON in JSON
    return text, value


def _object_of(arguments: str, tool: ObjectTool) -> dict[str, object]:
    """The arguments by name.

    Raises:
        NotUnderstoodError: they do not say it.
    """
    text, value = _parsed(arguments)
    only = tool.parameters[0] if len(tool.parameters) == 1 else None
    match value:
        case dict() if not value or not value.keys().isdisjoint(tool.parameters):
            return value
        case dict():
            inner = value.get("arguments", value.get("parameters"))
            if isinstance(inner, dict):
                return inner  # the whole call inside of its arguments
            if only and len(value) == 1:
                # Under another name there is only one thing that it can mean.
                return {only: next(iter(value.values()))}
            return value
        case None if text.strip() in ("", "null"):
            return {}
        case None if only and not _JSON_BEGINS.match(text):
            return {only: text}
        case str() | int() | float() | list() if only:
            return {only: value}
    quote = shortened(" ".join(text[:1000].split()), _QUOTE_MAX_CHARS)
    raise NotUnderstoodError(f"its arguments are malformed, not a JSON object but {quote}")


def _text_of(arguments: str, tool: TextTool) -> str:
    """The text for the tool's one parameter, without a fence around it.

    Raises:
        NotUnderstoodError: the arguments do not say it.
    """
    text = _unfenced(_value_of(arguments, tool))
    if not text.strip():
        raise NotUnderstoodError(f"`{tool.parameter}` is empty")
    return whole_characters(text)


def _value_of(arguments: str, tool: TextTool) -> str:
    text, value = _parsed(arguments)
    match value:
        case str():
            return value
        case list() if lines := _lines(value):
            return lines
        case dict():
            return _parameter_of(value, tool)
        case None if text.strip() in ("", "null"):
            raise NotUnderstoodError("it has no arguments")
        case None if not _JSON_BEGINS.match(text):
            return text
    quote = shortened(" ".join(text[:1000].split()), _QUOTE_MAX_CHARS)
    raise NotUnderstoodError(f"its arguments are malformed, not a JSON object but {quote}")


def _parameter_of(value: dict[str, object], tool: TextTool) -> str:
    if tool.parameter not in value:
        inner = value.get("arguments", value.get("parameters"))
        if isinstance(inner, dict):
            value = inner  # the whole call inside of its arguments
        elif len(value) == 1:
            # Under another name there is only one thing that it can mean.
            value = {tool.parameter: next(iter(value.values()))}
    more = sorted(name for name in value if value[name] is not None and name != tool.parameter)
    if more:
        names = shortened(", ".join(more)[:1000], _QUOTE_MAX_CHARS)
        raise NotUnderstoodError(f"it has an unexpected argument: {names}")
    match value.get(tool.parameter):
        case str(text):
            return text
        case list(values) if lines := _lines(values):
            return lines
        case None:
            raise NotUnderstoodError(f"`{tool.parameter}` is missing")
    raise NotUnderstoodError(f"`{tool.parameter}` is not a text")


def _lines(values: list[object]) -> str:
    """A text that came as a list of its lines; empty if it is another list."""
    lines = [value for value in values if isinstance(value, str)]
    return "\n".join(lines) if len(lines) == len(values) else ""


def _json_of(text: str) -> object:
    """The JSON at the beginning, if there is nothing behind it but brackets; None if not."""
    text = text.strip()
    for candidate in (text, text + "}"):
        try:
            value, end = _LENIENT.raw_decode(candidate)
        except (ValueError, RecursionError):
            continue
        if _CLOSERS.fullmatch(candidate, end):
            return value
    return None


def _unescaped(text: str) -> str:
    """A text as Python's quotes hold it."""
    known = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "\n": ""}
    return re.sub(r"\\(.)", lambda m: known.get(m[1], m[0]), text, flags=re.DOTALL)


def _unfenced(text: str) -> str:
    """The text inside of the one Markdown fence around it, or the text."""
    bare = text.strip()
    for fence in _FENCES:
        if bare.startswith(fence) and bare.endswith(fence) and bare.count(fence) == 2:
            language, newline, inside = bare[3:-3].partition("\n")
            return inside.removesuffix("\n") if newline else language.strip()
    return text
