"""Lets a package that only re-exports names import each of them when it is asked for (PEP 562).

`openai.types` and its sub-packages are lists of `from .x import X`: 700 modules of pydantic models,
of which a chat turn uses 70. Semantic Kernel's packages are lists of all their connectors,
services and contents. Who asks such a package for a name gets the same object as ever, from the
same module.
"""

import __future__

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

from agent.deferred_imports import asked_first
from agent.frozen import frozen


def lazy_reexports(package: str) -> AbstractContextManager[None]:
    """While the block runs, `package` and its sub-packages are imported this way.

    What is loaded already stays as it is. An `__init__` that does anything but re-export is
    executed as usual.
    """
    return asked_first(_Finder(package))


class _Finder(MetaPathFinder):
    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._package and not fullname.startswith(f"{self._package}."):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and spec.origin and spec.submodule_search_locations:
            spec.loader = _Loader(fullname, spec.origin)
        return spec


@frozen
class _ReExports:
    """What an `__init__` re-exports.

    Attributes:
        names: name → the module it comes from, and what it is called there.
        submodules: of the package itself, that it would load on the way.
        constants: what else it defines: `__all__`, `__version__`.
    """

    names: dict[str, tuple[str, str]]
    submodules: frozenset[str]
    constants: dict[str, object]


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        code = self.get_code(module.__name__)
        reexports = code and _read(code, module.__name__)
        if not reexports:
            super().exec_module(module)
            return

        def getattr_(name: str) -> object:
            if name in reexports.names:
                source, attribute = reexports.names[name]
                value = getattr(import_module(source), attribute)
                setattr(module, name, value)
                return value
            if name in reexports.submodules:
                return import_module(f"{module.__name__}.{name}")
            raise AttributeError(
                f"module {module.__name__!r} has no attribute {name!r}", name=name, obj=module
            )

        def dir_() -> list[str]:
            return sorted({*vars(module), *reexports.names, *reexports.submodules})

        vars(module).update(reexports.constants, __getattr__=getattr_, __dir__=dir_)


class _MoreThanReExports(Exception):
    pass


class _Name:
    """Stands for a name of another module; nothing can be done with it but give it a name."""

    __slots__ = ("origin",)
    __hash__ = None  # type: ignore[assignment]  # mypy expects object's method; Python itself has None for what cannot be hashed

    def __init__(self, module: str, name: str) -> None:
        self.origin = (module, name)

    def _refuse(self, *_: object) -> Any:
        raise _MoreThanReExports

    __bool__ = __eq__ = __format__ = __repr__ = __str__ = _refuse


class _Source:
    """Stands for a module that names are imported from."""

    __slots__ = ("_module",)

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> _Name:
        return _Name(self._module, name)


def _read(code: CodeType, package: str) -> _ReExports | None:
    """The re-exports of an `__init__`, None if it does anything else.

    It is executed with imports that only say what they are asked for, and without builtins. That is
    ten times as fast as to parse it.
    """
    # Functions and classes look their names up later; `try` may expect that an import fails.
    if code.co_exceptiontable or any(isinstance(each, CodeType) for each in code.co_consts):
        return None

    def import_(
        name: str, _globals: object, _locals: object, fromlist: Sequence[str] | None, level: int
    ) -> object:
        if name == __future__.__name__:
            return __future__
        if name == logging.__name__ and not fromlist:
            # A library gives its own log a handler that drops what nobody else takes.
            return logging
        if not name or not fromlist or "*" in fromlist or level > 1:
            raise _MoreThanReExports
        return _Source(f"{package}.{name}" if level else name)

    found: dict[str, Any] = {"__name__": package, "__builtins__": {"__import__": import_}}
    try:
        exec(code, found)  # noqa: S102 - an installed package's own code, which an import executes too, and with builtins
    except Exception:
        return None
    del found["__name__"], found["__builtins__"]
    names = {name: value.origin for name, value in found.items() if isinstance(value, _Name)}
    constants = {name: value for name, value in found.items() if name not in names}
    if not all(map(_is_plain, constants.values())):
        return None
    prefix = f"{package}."
    submodules = frozenset(
        source.removeprefix(prefix).partition(".")[0]
        for source, _ in names.values()
        if source.startswith(prefix)
    )
    # A name that is also a sub-module's would be whichever was bound last.
    if not submodules.isdisjoint(names):
        return None
    return _ReExports(names, submodules, constants)


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is logging or isinstance(value, str | int | float | None | __future__._Feature)
