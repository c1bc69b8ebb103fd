"""The module map: what each module may import. Imports point down.

A module that is not in the map fails: say here what it may know before it knows it.
"""

import ast
import graphlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]

# Module of agent/ (and function_app) → modules of agent/ that it may import.
AGENT: Mapping[str, set[str]] = {
    "errors": set(),
    "lazy_reexports": set(),
    "lean_imports": {"lazy_reexports"},
    "telemetry": set(),
    "shortening": set(),
    "settings": {"errors"},
    "messages": set(),
    "events": {"errors", "messages"},
    "schemas": {"events"},
    "credentials": {"errors", "telemetry"},
    "pool_calls": {"errors", "telemetry"},
    "sessions": {"errors", "pool_calls"},
    "owner": {"errors"},
    "conversations": {"errors", "events", "messages", "owner", "shortening", "telemetry"},
    "turn_files": {"errors", "events", "sessions"},
    "code_interpreter": {
        "errors",
        "events",
        "lean_imports",
        "sessions",
        "shortening",
        "telemetry",
        "turn_files",
    },
    "chat_service": {"lean_imports"},
    "kernel": {"chat_service", "code_interpreter", "lean_imports"},
    "chat_history": {"kernel", "messages"},
    "model": {"chat_service", "errors", "events", "kernel", "lean_imports", "telemetry"},
    "turn": {
        "chat_service",
        "chat_history",
        "code_interpreter",
        "conversations",
        "errors",
        "events",
        "kernel",
        "messages",
        "model",
        "sessions",
        "telemetry",
        "turn_files",
    },
    "uploads": {"errors"},
    "conversation_turn": {
        "code_interpreter",
        "conversations",
        "errors",
        "events",
        "owner",
        "sessions",
        "turn",
        "turn_files",
    },
    "runtime": {
        "chat_service",
        "code_interpreter",
        "conversation_turn",
        "conversations",
        "credentials",
        "errors",
        "kernel",
        "lean_imports",
        "owner",
        "sessions",
        "settings",
        "telemetry",
        "turn",
    },
    "hang_ups": set(),
    "web": {"errors", "events", "hang_ups", "schemas", "telemetry"},
    "server_sent_events": {"errors", "events", "hang_ups", "telemetry"},
    "agui": {"errors", "events", "messages", "schemas", "web"},
    "openai_schemas": set(),
    "openai_api": {"errors", "events", "messages", "openai_schemas", "web"},
    "openai_routes": {
        "conversation_routes",
        "conversation_turn",
        "events",
        "hang_ups",
        "openai_api",
        "runtime",
        "server_sent_events",
        "turn",
        "web",
    },
    "operations": {"openai_schemas", "schemas"},
    "openapi": {"operations"},
    "conversation_routes": {
        "conversation_turn",
        "conversations",
        "errors",
        "owner",
        "runtime",
        "schemas",
        "sessions",
        "telemetry",
        "uploads",
        "web",
    },
    "health": {"errors", "model", "runtime", "schemas"},
    "routes": {
        "agui",
        "conversation_routes",
        "conversation_turn",
        "errors",
        "events",
        "health",
        "openai_routes",
        "openapi",
        "owner",
        "runtime",
        "schemas",
        "server_sent_events",
        "turn",
        "web",
    },
    "function_app": {"routes"},
}

# Module or package of local/ → others of local/ that it may import. The stand-ins know the tokens
# of the managed identity and nothing else of each other.
LOCAL: Mapping[str, set[str]] = {
    "serving": set(),
    "processes": set(),
    "tls": set(),
    "managed_identity": set(),
    "azure_openai": {"managed_identity"},
    "session_pool": {"managed_identity", "processes", "serving", "tls"},
    "functions_host": {"processes", "serving"},
    "stack": {"azure_openai", "managed_identity", "serving", "session_pool"},
    "run": {"functions_host", "serving", "stack"},
    "__main__": {
        "azure_openai",
        "functions_host",
        "processes",
        "run",
        "serving",
        "session_pool",
        "stack",
    },
}


def imported(path: Path) -> Iterator[str]:
    """Yield the full name of all that a file imports, in whatever way."""
    package = path.relative_to(PROJECT).parent.parts
    dynamic, literals = False, []
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                base = package[: len(package) - node.level + 1] if node.level else ()
                module = ".".join((*base, *([node.module] if node.module else [])))
                yield from (f"{module}.{alias.name}" for alias in node.names)
            case ast.Name("import_module") | ast.Attribute(attr="import_module"):
                dynamic = True
            case ast.Constant(value=str(text)) if re.fullmatch(r"(agent|local)(\.\w+)+", text):
                literals.append(text)
    if dynamic:  # its argument may be anywhere; a text that looks like our module is taken for it
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


@pytest.mark.parametrize("path", AGENT_FILES, ids=name_of)
def test_a_module_of_the_agent_imports_what_the_map_allows(path: Path) -> None:
    assert module_of(path) in AGENT, "not in the map"
    assert siblings(path, "agent") <= AGENT[module_of(path)]


@pytest.mark.parametrize("path", LOCAL_FILES, ids=name_of)
def test_a_module_of_the_local_azure_imports_what_the_map_allows(path: Path) -> None:
    assert module_of(path) in LOCAL, "not in the map"
    assert siblings(path, "local") <= LOCAL[module_of(path)]


@pytest.mark.parametrize("modules", [AGENT, LOCAL], ids=["agent", "local"])
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


def test_only_the_runtime_sees_the_settings() -> None:
    readers = {module_of(path) for path in AGENT_FILES if "settings" in siblings(path, "agent")}
    assert readers == {"runtime"}


def reads_the_environment(path: Path) -> bool:
    """Whether a file touches os.environ or os.getenv, under whatever name."""
    names = {"environ", "environb", "getenv", "getenvb", "putenv"}
    if any(name in {f"os.{name}" for name in names} for name in imported(path)):
        return True
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Attribute(value=ast.Name("os"), attr=attribute) if attribute in names:
                return True
    return False


def test_the_environment_is_read_by_settings_and_command_lines_only() -> None:
    readers = {path for path in [*AGENT_FILES, *LOCAL_FILES] if reads_the_environment(path)}
    allowed = {PROJECT / "agent/settings.py", *(PROJECT / "local").rglob("__main__.py")}
    # These run inside the sandbox, whose environment is the user's code's own.
    allowed |= set((PROJECT / "local/session_pool/sandbox/guest").rglob("*.py"))
    assert readers <= allowed
