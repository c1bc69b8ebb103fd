"""The house: which rooms there are, and which of them each may enter. Imports point down.

The map holds by equality: an import that is not in it fails, and so does an entry that nobody uses.
"""

import ast
import functools
import graphlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]

# What every room may use, and what uses no room: values, words and the log.
FOUNDATION = {
    "deferred_imports",
    "errors",
    "events",
    "frozen",
    "host_log",
    "lazy_reexports",
    "media_types",
    "memory",
    "messages",
    "pictures",
    "telemetry",
    "text",
    "tokens",
}

# Room of agent/ (and function_app) → the rooms that it uses.
AGENT: Mapping[str, set[str]] = {
    "function_app": {"http", "settings"},
    "http": {
        "runtime",
        "conversations",
        "turns",
        "model",
        "open_data",
        "session_pool",
        "foundation",
    },
    "runtime": {
        "conversations",
        "credentials",
        "turns",
        "model",
        "open_data",
        "session_pool",
        "settings",
        "toolkit",
        "tools",
        "foundation",
    },
    "conversations": {"turns", "session_pool", "foundation"},
    "turns": {"model", "session_pool", "toolkit", "foundation"},
    "tools": {"open_data", "toolkit"},
    "toolkit": {"model", "foundation"},
    "model": {"foundation"},
    "session_pool": {"foundation"},
    "credentials": {"foundation"},
    "settings": {"foundation"},
    "open_data": {"foundation"},
    "foundation": set(),
}

# Module or package of local/ → others of local/ that it imports. The stand-ins know the tokens of
# the managed identity and nothing else of each other.
LOCAL: Mapping[str, set[str]] = {
    "command_line": set(),
    "defaults": set(),
    "serving": set(),
    "processes": set(),
    "tls": set(),
    "managed_identity": {"defaults"},
    "app_service_auth": {"defaults", "managed_identity"},
    "azure_monitor": {"managed_identity"},
    "azure_openai": {"defaults", "managed_identity"},
    "model_servers": {"azure_openai", "processes", "serving"},
    "session_pool": {"command_line", "defaults", "managed_identity", "processes", "serving", "tls"},
    "functions_host": {"app_service_auth", "command_line", "defaults", "processes", "serving"},
    "stack": {"azure_openai", "defaults", "managed_identity", "serving", "session_pool"},
    "run": {"defaults", "processes", "serving", "stack"},
    "tracing": {"azure_monitor", "defaults", "managed_identity", "serving"},
    "__main__": {
        "command_line",
        "defaults",
        "model_servers",
        "processes",
        "run",
        "serving",
        "session_pool",
        "stack",
        "tracing",
    },
}

# Room of local/session_pool/ → the rooms that it uses.
SESSION_POOL: Mapping[str, set[str]] = {
    "errors": set(),
    "sandbox": set(),
    "image": set(),
    "options": {"sandbox"},
    "files": {"errors"},
    "pool": {"errors", "options", "sandbox"},
    "http": {"errors", "files", "pool", "sandbox"},
    "service": {"files", "http", "image", "options", "pool", "sandbox"},
    "__main__": {"image", "options", "service"},
}


@functools.cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All of a file's syntax tree."""
    return tuple(ast.walk(ast.parse(path.read_text(), str(path))))


def imported(path: Path, *, dynamic: bool = True) -> Iterator[str]:
    """Yield the full name of all that a file imports; also what it imports by a text."""
    package = path.relative_to(PROJECT).parent.parts
    by_text, literals = False, []
    for node in nodes(path):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                base = package[: len(package) - node.level + 1] if node.level else ()
                module = ".".join((*base, *([node.module] if node.module else [])))
                yield from (f"{module}.{alias.name}" for alias in node.names)
            case ast.Name("import_module") | ast.Attribute(attr="import_module"):
                by_text = True
            case ast.Constant(value=str(text)) if re.fullmatch(r"(agent|local)(\.\w+)+", text):
                literals.append(text)
    if (
        dynamic and by_text
    ):  # its argument may be anywhere; a text that looks like our module is taken for it
        yield from literals


def module_of(path: Path) -> str:
    """Name what of agent/ or local/ a file belongs to: the first part below the folder."""
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return parts[1] if len(parts) > 1 else parts[0]


def siblings(path: Path, package: str) -> set[str]:
    """Name the modules of a package, other than its own, that a file imports."""
    names = (name.split(".") for name in imported(path))
    return {name[1] for name in names if name[0] == package and len(name) > 1} - {module_of(path)}


def files(folder: str) -> list[Path]:
    # The package itself holds its docstring alone, which is tested below.
    package = PROJECT / folder
    return sorted(set(package.rglob("*.py")) - {package / "__init__.py"})


AGENT_FILES = [*files("agent"), PROJECT / "function_app.py"]
LOCAL_FILES = files("local")


def name_of(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def room_of(module: str) -> str:
    return "foundation" if module in FOUNDATION else module


def rooms() -> dict[str, set[str]]:
    """Each room of agent/, and those that its files import."""
    found: dict[str, set[str]] = {}
    for path in AGENT_FILES:
        room = room_of(module_of(path))
        found.setdefault(room, set()).update(map(room_of, siblings(path, "agent")))
        found[room].discard(room)
    return found


def test_the_rooms_of_the_agent_use_what_the_map_says() -> None:
    assert rooms() == AGENT


def test_no_module_of_the_agent_imports_itself_by_way_of_others() -> None:
    graph: dict[str, set[str]] = {}
    modules = {".".join(path.relative_to(PROJECT).with_suffix("").parts) for path in AGENT_FILES}
    for path in AGENT_FILES:
        names = set(imported(path, dynamic=False))
        names |= {name.rpartition(".")[0] for name in names}
        module = ".".join(path.relative_to(PROJECT).with_suffix("").parts)
        graph[module] = (names & modules) - {module}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_only_the_model_knows_semantic_kernel_and_openai() -> None:
    users = {
        path
        for path in AGENT_FILES
        if {name.split(".")[0] for name in imported(path)} & {"semantic_kernel", "openai"}
    }
    assert users == {PROJECT / "agent/model/sdk.py"}


def test_imports_stand_at_the_top() -> None:
    """What is imported later is in a table: of routes, of stores, what few need, and the start."""
    late = {
        path
        for path in AGENT_FILES
        for function in nodes(path)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert late == set()
    dynamic = {path for path in AGENT_FILES if "importlib.import_module" in set(imported(path))}
    assert {name_of(path) for path in dynamic} == {
        "function_app.py",
        "agent/http/dispatch.py",
        "agent/conversations/store.py",
        "agent/memory.py",
        "agent/lazy_reexports.py",
        "agent/runtime.py",
        "agent/telemetry/exporting.py",
        "agent/telemetry/sending.py",
        "agent/toolkit/loading.py",
    }


def test_the_modules_of_the_local_azure_use_what_the_map_says() -> None:
    found: dict[str, set[str]] = {}
    for path in LOCAL_FILES:
        found.setdefault(module_of(path), set()).update(siblings(path, "local"))
    assert found == LOCAL


def test_the_rooms_of_the_session_pool_use_what_the_map_says() -> None:
    found: dict[str, set[str]] = {}
    for path in files("local/session_pool"):
        room, prefix = path.relative_to(PROJECT).with_suffix("").parts[2], "local.session_pool."
        names = {name for name in imported(path) if name.startswith(prefix)}
        rooms = {name.removeprefix(prefix).split(".")[0] for name in names}
        found.setdefault(room, set()).update(rooms - {room})
    assert found == SESSION_POOL


@pytest.mark.parametrize(
    "modules", [AGENT, LOCAL, SESSION_POOL], ids=["agent", "local", "session pool"]
)
def test_the_map_has_no_circle(modules: Mapping[str, set[str]]) -> None:
    graphlib.TopologicalSorter(modules).prepare()  # raises CycleError


def test_agent_and_local_azure_know_nothing_of_each_other() -> None:
    """Their agreement proves something only because each is written from the documentation."""
    for path in AGENT_FILES:
        assert not any(name.split(".")[0] == "local" for name in imported(path)), path
    for path in LOCAL_FILES:
        roots = {name.split(".")[0] for name in imported(path)}
        assert roots.isdisjoint({"agent", "function_app", "tests"}), path


def test_what_is_deployed_imports_no_tests() -> None:
    for path in AGENT_FILES:
        assert not any(name.split(".")[0] in {"tests", "bench"} for name in imported(path)), path


@pytest.mark.parametrize("package", ["agent", "local"])
def test_a_package_holds_its_docstring_alone(package: str) -> None:
    tree = ast.parse((PROJECT / package / "__init__.py").read_text())
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


def test_only_the_runtime_and_the_routes_see_the_settings() -> None:
    readers = {module_of(path) for path in AGENT_FILES if "settings" in siblings(path, "agent")}
    assert readers == {"runtime", "function_app"}


def reads_the_environment(path: Path) -> bool:
    """Whether a file touches os.environ or os.getenv, under whatever name."""
    names = {"environ", "environb", "getenv", "getenvb", "putenv"}
    if any(name in {f"os.{name}" for name in names} for name in imported(path)):
        return True
    for node in nodes(path):
        match node:
            case ast.Attribute(value=ast.Name("os"), attr=attribute) if attribute in names:
                return True
    return False


def test_the_environment_is_read_by_settings_and_command_lines_only() -> None:
    """The settings read it by pydantic-settings, which names no `os.environ`."""
    readers = {path for path in [*AGENT_FILES, *LOCAL_FILES] if reads_the_environment(path)}
    assert {name_of(path) for path in readers} == {
        "local/__main__.py",
        "local/functions_host/__main__.py",
    }
