"""Finds the own tools of a package, and makes each of them out of what its constructor asks for."""

import asyncio
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import Any, Final, get_type_hints

from agent.errors import BrokenToolError, SettingsError, frames_of
from agent.model.tool_calls import NAME, plain_name
from agent.telemetry import logger
from agent.text import shortened
from agent.toolkit.authoring import DEFAULT_TIMEOUT_S, ToolSettings
from agent.toolkit.tool import OwnTool

_TIMEOUT_S: Final = "TIMEOUT_S"
_AT_ONCE: Final = "AT_ONCE"
_REASON_MAX_CHARS: Final = 300


type Provide = Callable[[type], Any]


async def open_tools(
    package_name: str, provide: Provide, taken: frozenset[str], opening: AsyncExitStack
) -> tuple[OwnTool, ...]:
    """What the modules of a package offer to the model; those whose names begin with `_` are none.

    Args:
        package_name: of the package.
        provide: gives an object of a type that a constructor asks for, by the type; LookupError if
            there is none.
        taken: names that no tool may have.
        opening: closes what is opened: tools that are asynchronous context managers.

    Raises:
        BrokenToolError: one is not what the model could call; it names file, line and reason.
        SettingsError: a setting of one is missing or wrong.
    """
    # They import whatever they like.
    package, modules = await asyncio.to_thread(_imported, package_name)
    tools: list[OwnTool] = []
    names = {plain_name(name) for name in taken}
    for module in modules:
        with _as_broken_tool(package, module.__name__):
            functions, objects = _functions_of(module, provide)
            for function in functions:
                with _at(function):
                    tool = OwnTool.of(function, _timeout_of(module), _at_once_of(module))
                    _check_name(tool.name, names)
                names.add(plain_name(tool.name))
                tools.append(tool)
            for tool_object in objects:
                if isinstance(tool_object, AbstractAsyncContextManager):
                    await opening.enter_async_context(tool_object)
    return tuple(tools)


def _imported(package_name: str) -> tuple[ModuleType, list[ModuleType]]:
    package = import_module(package_name)
    modules = []
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        if not info.name.startswith("_"):
            name = f"{package_name}.{info.name}"
            with _as_broken_tool(package, name):
                modules.append(import_module(name))
    return package, modules


class _Fault(Exception):
    """Something is wrong with a tool; the message says what.

    Attributes:
        where: the code that it is about.
    """

    def __init__(self, reason: str, where: object = None) -> None:
        super().__init__(reason)
        self.where = where


def _timeout_of(module: ModuleType) -> float:
    timeout_s = getattr(module, _TIMEOUT_S, DEFAULT_TIMEOUT_S)
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or timeout_s <= 0:
        raise _Fault(f"{_TIMEOUT_S} must be a number of seconds above 0")
    return timeout_s


def _at_once_of(module: ModuleType) -> int | None:
    at_once = getattr(module, _AT_ONCE, None)
    if at_once is not None and (type(at_once) is not int or at_once < 1):
        raise _Fault(f"{_AT_ONCE} must be a number of calls, 1 or more")
    return at_once


def _check_name(name: str, names: set[str]) -> None:
    if not NAME.fullmatch(name):
        raise TypeError(f"`{name}` is no name that models take: up to 64 letters, digits, _ and -")
    if plain_name(name) in names:
        raise TypeError(f"there is a tool `{name}` already")


def _functions_of(
    module: ModuleType, provide: Provide
) -> tuple[list[Callable[..., Any]], list[object]]:
    """The functions of a module, and the objects that its methods belong to."""
    own = [v for v in vars(module).values() if getattr(v, "__module__", "") == module.__name__]
    functions = [value for value in own if not isinstance(value, type) and _is_marked(value)]
    types = [v for v in own if isinstance(v, type) and not v.__name__.startswith("_")]
    classes = [cls for cls in types if _methods_of(cls)]
    if not functions and not classes:
        raise _Fault("it has no function or method with @kernel_function")
    objects = []
    for cls in classes:
        with _at(cls):
            tool = _object_of(cls, provide)
        if tool is not None:
            objects.append(tool)
            functions += [getattr(tool, name) for name in _methods_of(cls)]
    return functions, objects


def _is_marked(value: object) -> bool:
    return callable(value) and getattr(value, "__kernel_function__", None) is True


def _methods_of(cls: type) -> list[str]:
    return [name for name, value in inspect.getmembers_static(cls) if _is_marked(value)]


def _object_of(cls: type, provide: Provide) -> object | None:
    """An object of the class; None if its settings switch it off."""
    hints = get_type_hints(cls.__init__)  # type: ignore[misc]  # mypy fears a subclass's: it is this very class that is called below
    given: dict[str, Any] = {}
    parameters = inspect.signature(cls).parameters
    # Settings first: a tool that is off asks for nothing else.
    for name in sorted(parameters, key=lambda n: not _is_settings(hints.get(n))):
        if name not in hints:
            raise TypeError(f"`{name}` of its constructor has no type")
        try:
            given[name] = provide(hints[name])
        except LookupError:
            if parameters[name].default is not inspect.Parameter.empty:
                continue  # a test's own
            kind = getattr(hints[name], "__name__", str(hints[name]))
            raise TypeError(
                f"`{name}` of its constructor is a {kind}; it can have a subclass of ToolSettings, "
                "an aiohttp.ClientSession, an ssl.SSLContext and an AsyncTokenCredential"
            ) from None
        if isinstance(given[name], ToolSettings) and not given[name].is_on:
            return None
    try:
        made: object = cls(**given)
    except Exception as error:
        # Without its message, which may hold a setting.
        raise TypeError(f"its constructor raised {type(error).__name__}") from error
    return made


def _is_settings(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, ToolSettings)


@contextmanager
def _at(where: object) -> Iterator[None]:
    """What is wrong in the block is wrong with this function or class."""
    try:
        yield
    except (TypeError, NameError) as error:
        raise _Fault(f"`{getattr(where, '__qualname__', where)}`: {error}", where) from error


@contextmanager
def _as_broken_tool(package: ModuleType, name: str) -> Iterator[None]:
    try:
        yield
    except SettingsError:
        raise
    except (Exception, SystemExit) as error:
        file, line = _place(error, [Path(root).resolve() for root in package.__path__], name)
        where = f"{package.__name__.replace('.', '/')}/{file}"
        said = " ".join(str(error).split())
        reason = said if isinstance(error, _Fault) else f"{type(error).__name__}: {said}"
        reason = shortened(reason, _REASON_MAX_CHARS)
        place = f"{where}, line {line}" if line else where
        # A fault says all; what a constructor raised is behind it.
        origin = (
            error.__cause__ and error.__cause__.__cause__ if isinstance(error, _Fault) else error
        )
        more = f"\n{frames_of(origin)}" if origin else ""
        logger.error("a tool is broken: %s: %s%s", place, reason, more)
        raise BrokenToolError(f"{place}: {reason}") from error


def _place(error: BaseException, roots: list[Path], name: str) -> tuple[str, int]:
    """File, relative to the package, and line of what is wrong; 0 if it is the whole file."""
    places: list[tuple[str, int]] = []
    if isinstance(error, _Fault) and error.where is not None:
        target: Any = inspect.unwrap(getattr(error.where, "__func__", error.where))  # type: ignore[arg-type]  # `where` is typed as object: whoever raises it gives a function or a class
        places.append((inspect.getsourcefile(target) or "", inspect.getsourcelines(target)[1]))
    elif isinstance(error, SyntaxError):
        places.append((error.filename or "", error.lineno or 0))
    elif not isinstance(error, _Fault):
        frames = walk_tb(error.__traceback__)
        places += [(frame.f_code.co_filename, line) for frame, line in frames]
    for source, line in reversed(places):
        for root in roots:
            if source and (path := Path(source).resolve()).is_relative_to(root):
                return path.relative_to(root).as_posix(), line
    last = name.rpartition(".")[2]
    is_folder = any((root / last).is_dir() for root in roots)
    return (f"{last}/__init__.py" if is_folder else f"{last}.py"), 0
