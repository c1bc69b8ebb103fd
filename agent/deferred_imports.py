"""Lets modules that a library imports and seldom uses be loaded when they are first used.

Unlike a stand-in it is the module itself, which nobody can tell from one that is loaded at once.
https://docs.python.org/3.13/library/importlib.html#importlib.util.LazyLoader
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType


@contextmanager
def asked_first(finder: MetaPathFinder) -> Iterator[None]:
    """While the block runs, imports ask this finder before all others."""
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def deferred_imports(*names: str) -> AbstractContextManager[None]:
    """While the block runs, an import of these modules is put off until they are first used.

    `from package import module` is no use, however often; all else is. Not for a module that puts
    another one in its place while it is loaded.
    """
    return asked_first(_Finder(names))


class _Finder(MetaPathFinder):
    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._names:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and spec.loader:
            spec.loader = LazyLoader(spec.loader)
        return spec
