"""Packages of tools for tests."""

import importlib
import itertools
import sys
from collections.abc import Callable, Iterator

import pytest

type WriteTools = Callable[..., str]

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def write_tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WriteTools]:
    """Write modules of tools, by their names; tells the name of their package."""
    folder = tmp_path_factory.mktemp("packages")
    sys.path.insert(0, str(folder))

    def write(**modules: str) -> str:
        package = f"tools_of_test_{next(_numbers)}"
        (folder / package).mkdir()
        (folder / package / "__init__.py").touch()
        for name, source in modules.items():
            (folder / package / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        return package

    yield write
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.startswith("tools_of_test_")]:
        del sys.modules[name]
