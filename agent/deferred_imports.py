"""Lets modules that a library imports and seldom uses be loaded when they are first used.

Unlike a stand-in it is the module itself, which nobody can tell from one that is loaded at once.
https://docs.python.org/3.13/library/importlib.html#importlib.util.LazyLoader
"""

import __future__

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import LazyLoader
from types import CodeType, ModuleType


@contextmanager
def asked_first(finder: MetaPathFinder) -> Iterator[None]:
    """While the block runs, imports ask this finder before all others."""
    # A list of its own: an import of another thread that goes through the other one would miss a
    # finder if the list grew shorter, and with it the module.
    sys.meta_path = [finder, *sys.meta_path]
    try:
        yield
    finally:
        sys.meta_path = [each for each in sys.meta_path if each is not finder]


def deferred_imports(*names: str) -> AbstractContextManager[None]:
    """While the block runs, an import of these modules is put off until they are first used.

    `from package import module` is no use, however often; all else is. Not for a module that puts
    another one in its place while it is loaded.
    """
    return asked_first(_Finder(names, LazyLoader))


def unread_annotations(*names: str) -> AbstractContextManager[None]:
    """While the block runs, the annotations of these modules stay unread until somebody asks.

    That is how Python 3.14 has all of them. A module that names others in its annotations alone
    then loads none of them.
    """
    return asked_first(_Finder(names, _AnnotationsAsText.of))


class _AnnotationsAsText(SourceFileLoader):
    @classmethod
    def of(cls, loader: Loader) -> Loader:
        return cls(loader.name, loader.path) if isinstance(loader, SourceFileLoader) else loader

    def get_code(self, fullname: str) -> CodeType:
        # Not by way of the cache of compiled modules, which has the others.
        flags = __future__.annotations.compiler_flag
        code: CodeType = compile(
            self.get_data(self.path), self.path, "exec", flags, dont_inherit=True
        )
        return code


class _Finder(MetaPathFinder):
    def __init__(self, names: Sequence[str], loader: Callable[[Loader], Loader]) -> None:
        self._names = names
        self._loader = loader

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._names:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and spec.loader:
            spec.loader = self._loader(spec.loader)
        return spec
