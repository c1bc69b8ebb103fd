"""Lets a package that only re-exports names import each of them when it is asked for (PEP 562).

`openai.types` and its sub-packages are lists of `from .x import X`: 700 modules of pydantic models,
of which a chat turn uses 70. Semantic Kernel's packages are lists of all their connectors,
services and contents. Who asks such a package for a name gets the same object as ever, from the
same module.
"""

import ast
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

from agent.deferred_imports import asked_first


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


@dataclass(frozen=True, slots=True)
class _ReExports:
    """A name that an `__init__` re-exports.

    Attributes:
        names: name → the module it comes from, and what it is called there.
        submodules: of the package itself, that it would load on the way.
        public: its `__all__`, if it has one.
    """

    names: dict[str, tuple[str, str]]
    submodules: frozenset[str]
    public: list[str] | None


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        reexports = _read(ast.parse(self.get_data(self.path)), module.__name__)
        if reexports is None:
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

        vars(module).update(__getattr__=getattr_, __dir__=dir_)
        if reexports.public is not None:
            vars(module)["__all__"] = reexports.public


def _read(tree: ast.Module, package: str) -> _ReExports | None:
    """The re-exports of an `__init__`, None if it does anything else."""
    names: dict[str, tuple[str, str]] = {}
    public: list[str] | None = None
    for node in tree.body:
        match node:
            case ast.ImportFrom(module="__future__") | ast.Expr(value=ast.Constant()):
                continue
            case ast.ImportFrom(level=0 | 1 as level, module=str(source)):
                source = f"{package}.{source}" if level else source
                names |= {alias.asname or alias.name: (source, alias.name) for alias in node.names}
            case ast.Assign(targets=[ast.Name("__all__")], value=ast.List() as listed):
                public = ast.literal_eval(listed)
            case _:
                return None
    prefix = f"{package}."
    submodules = frozenset(
        source.removeprefix(prefix).partition(".")[0]
        for source, _ in names.values()
        if source.startswith(prefix)
    )
    # A name that is also a sub-module's would be whichever was bound last.
    if "*" in names or not submodules.isdisjoint(names):
        return None
    return _ReExports(names, submodules, public)
