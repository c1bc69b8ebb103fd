"""ASP.NET route templates as the Functions host matches them.

https://learn.microsoft.com/aspnet/core/fundamentals/routing#route-templates
"""

import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from local.functions_host.errors import FunctionAppError

ALL_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")

type AuthLevel = Literal["anonymous", "function", "admin"]
type Constraint = Callable[[str], bool]

_PARAMETER = re.compile(
    r"\{(?P<catch_all>\*{0,2})(?P<name>\w+)(?P<constraints>(?::\w+(?:\([^)]*\))?)*)"
    r"(?:=(?P<default>[^{}?]*))?(?P<optional>\??)\}"
)
_INT32_MAX, _INT64_MAX = 2**31 - 1, 2**63 - 1


@dataclass(frozen=True)
class HttpFunction:
    """One function with an HTTP trigger, as the worker indexed it."""

    name: str
    function_id: str
    trigger_parameter: str
    template: str
    methods: tuple[str, ...]
    auth_level: AuthLevel


@dataclass(frozen=True)
class RouteMatch:
    """The function that answers a request, and the values of its route parameters."""

    function: HttpFunction
    parameters: Mapping[str, str]


class RouteTable:
    """Finds the function for a method and a path; the most specific template wins."""

    def __init__(self, functions: Iterable[HttpFunction]) -> None:
        routes = ((_Template(function.template), function) for function in functions)
        self._routes = sorted(routes, key=lambda route: route[0].precedence)

    @property
    def functions(self) -> list[HttpFunction]:
        """All functions, by name."""
        return sorted((function for _, function in self._routes), key=lambda f: f.name)

    def match(self, method: str, raw_path: str) -> RouteMatch | None:
        """Find the function for a request.

        Args:
            method: in upper case.
            raw_path: still percent-encoded, without the query.

        Returns:
            None where nothing matches. A wrong method is no match: the host answers 404 for it, not
            405 (https://github.com/Azure/azure-functions-host/issues/10098).
        """
        # As in ASP.NET an encoded slash stays encoded: it separates no segments.
        path = unquote(re.sub("%2[fF]", lambda match: f"%25{match[0][1:]}", raw_path))
        for template, function in self._routes:
            if method in function.methods:
                parameters = template.match(path)
                if parameters is not None:
                    return RouteMatch(function, parameters)
        return None


class _Template:
    """A compiled route template; `precedence` sorts the more specific first."""

    def __init__(self, template: str) -> None:
        self._constraints: list[tuple[str, Constraint]] = []
        self._defaults: dict[str, str] = {}
        self.precedence: list[int] = []
        pattern = "".join(self._segment(part, template) for part in template.split("/") if part)
        self._pattern = re.compile(f"{pattern}/?", re.IGNORECASE)

    def match(self, path: str) -> dict[str, str] | None:
        """Take the parameters out of a decoded path; None if it does not match."""
        match = self._pattern.fullmatch(path)
        if match is None:
            return None
        values = {name: value for name, value in match.groupdict().items() if value}
        if not all(holds(values[name]) for name, holds in self._constraints if name in values):
            return None
        return self._defaults | values

    def _segment(self, segment: str, template: str) -> str:
        parameter = _PARAMETER.fullmatch(segment)
        if parameter is None:
            return "/" + self._literals_and_parameters(segment, template)
        self._constrain(parameter, template)
        catch_all = bool(parameter["catch_all"])
        # ASP.NET's RoutePrecedence: literal 1, constrained 2, parameter 3, catch-all 5.
        self.precedence.append((5 if catch_all else 3) - bool(parameter["constraints"]))
        pattern = f"/(?P<{parameter['name']}>{'(?s:.*)' if catch_all else '[^/]+'})"
        if parameter["default"] is not None:
            self._defaults[parameter["name"]] = parameter["default"]
        may_be_absent = catch_all or parameter["optional"] or parameter["default"] is not None
        return f"(?:{pattern})?" if may_be_absent else pattern

    def _literals_and_parameters(self, segment: str, template: str) -> str:
        pattern, end = "", 0
        for parameter in _PARAMETER.finditer(segment):
            self._constrain(parameter, template)
            pattern += re.escape(segment[end : parameter.start()])
            pattern += f"(?P<{parameter['name']}>[^/]+?)"
            end = parameter.end()
        rest = segment[end:]
        if "{" in rest or "}" in rest or "*" in rest:
            raise FunctionAppError(f"the route {template!r} is malformed at {rest!r}")
        self.precedence.append(2 if end else 1)
        return pattern + re.escape(rest)

    def _constrain(self, parameter: re.Match[str], template: str) -> None:
        for text in parameter["constraints"].split(":")[1:]:
            kind, _, argument = text.rstrip(")").partition("(")
            try:
                constraint = _constraint(kind.lower(), argument)
            except ValueError as error:
                raise FunctionAppError(f"the route {template!r}: {error}") from None
            self._constraints.append((parameter["name"], constraint))


def _constraint(kind: str, argument: str) -> Constraint:
    """Build one of ASP.NET's inline constraints from its name and the text in its parentheses."""
    plain: dict[str, Constraint] = {
        "int": lambda value: _is_integer(value, _INT32_MAX),
        "long": lambda value: _is_integer(value, _INT64_MAX),
        "bool": lambda value: value.lower() in {"true", "false"},
        "alpha": lambda value: re.fullmatch("[A-Za-z]+", value) is not None,
        "guid": _is_guid,
        "required": bool,
    }
    if kind in plain:
        return plain[kind]
    integers = re.fullmatch(r"-?\d+(,-?\d+)*", argument)
    bounds = [int(bound) for bound in argument.split(",")] if integers else []
    match kind, bounds:
        case "length", [exact]:
            return lambda value: len(value) == exact
        case "length", [low, high]:
            return lambda value: low <= len(value) <= high
        case "minlength", [low]:
            return lambda value: len(value) >= low
        case "maxlength", [high]:
            return lambda value: len(value) <= high
        case "min", [low]:
            return lambda value: _is_integer(value, _INT64_MAX) and int(value) >= low
        case "max", [high]:
            return lambda value: _is_integer(value, _INT64_MAX) and int(value) <= high
        case "range", [low, high]:
            return lambda value: _is_integer(value, _INT64_MAX) and low <= int(value) <= high
    raise ValueError(f"this host does not know the constraint {kind}({argument})")


def _is_integer(value: str, largest: int) -> bool:
    return (
        re.fullmatch(r"[+-]?\d{1,19}", value) is not None and -largest - 1 <= int(value) <= largest
    )


def _is_guid(value: str) -> bool:
    try:
        uuid.UUID(value)
    except ValueError:
        return False
    return True
