"""What stays in memory behind a request: caches have bounds, and so has all that a module keeps."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support import PROJECT

# What modules keep that is no constant → why it cannot grow with callers.
KEPT = {
    "agent/http/dispatch.py: _loaded": "modules, one for each route",
}
_MAKES = frozenset({"dict", "set", "list", "deque", "defaultdict", "OrderedDict", "Counter"})


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((PROJECT / "agent").rglob("*.py")):
        yield path.relative_to(PROJECT).as_posix(), ast.parse(Path(path).read_text())


def unbounded(tree: ast.Module) -> Iterator[str]:
    """Functions whose results are kept for each argument, however many there are."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for decorator in map(ast.unparse, node.decorator_list):
            name, _, options = decorator.partition("(")
            kind = name.rpartition(".")[2]
            if (kind == "cache" and ast.unparse(node.args)) or (
                kind == "lru_cache" and ("None" in options or "maxsize" not in options)
            ):
                yield node.name


def kept(tree: ast.Module) -> Iterator[str]:
    """Names of a module's own dictionaries, sets and lists that begin empty: to be filled."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(name)], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(name), value=value):
                pass
            case _:
                continue
        match value:
            case ast.Dict(keys=[]) | ast.List(elts=[]):
                yield name
            case ast.Call(func=ast.Name(made), args=[]) if made in _MAKES:
                yield name


def test_every_cache_by_arguments_has_a_bound() -> None:
    found = [f"{path}: {name}" for path, tree in modules() for name in unbounded(tree)]
    assert found == []


def test_what_modules_keep_is_known_and_cannot_grow_with_callers() -> None:
    # The script that looks for files runs in a session, not here.
    found = {
        f"{path}: {name}"
        for path, tree in modules()
        for name in kept(tree)
        if not path.endswith("survey_script.py")
    }
    assert found == set(KEPT)


def test_a_cache_or_a_map_without_a_bound_would_be_found() -> None:
    source = """
@cache
def once(): ...
@cache
def a(x): ...
@functools.lru_cache(maxsize=None)
def b(x): ...
@lru_cache
def c(x): ...
@lru_cache(maxsize=8)
def bounded(x): ...
_locks: dict[str, Lock] = {}
_seen = set()
_names = {"a": 1}
"""
    tree = ast.parse(source)
    assert list(unbounded(tree)) == ["a", "b", "c"]
    assert list(kept(tree)) == ["_locks", "_seen"]
