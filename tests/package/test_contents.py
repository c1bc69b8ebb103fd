"""The package holds the app and nothing else, whichever tool sends it."""

from pathlib import Path, PurePosixPath

import pytest

from tests.package.funcignore import FuncIgnore, files_sent
from tests.support import PROJECT

APP = {"agent", "function_app.py", "host.json", "requirements.txt"}


@pytest.fixture(scope="module")
def ignore() -> FuncIgnore:
    return FuncIgnore.read(PROJECT)


def test_lines_are_written_so_that_both_readers_understand_them(ignore: FuncIgnore) -> None:
    assert [
        p for p in ignore.lines if not p.startswith(("/", "**/")) or set("!?[]\\") & set(p)
    ] == []
    assert [p for p in ignore.lines if p.endswith("/")] == []


@pytest.mark.parametrize("reader", ["as_gitignore", "as_core_tools"])
def test_only_the_app_is_sent(ignore: FuncIgnore, reader: str) -> None:
    sent = files_sent(PROJECT, getattr(ignore, reader))

    assert {file.parts[0] for file in sent} - {".python_packages"} == APP
    assert [file for file in sent if "__pycache__" in file.parts] == []


@pytest.mark.parametrize("reader", ["as_gitignore", "as_core_tools"])
def test_the_whole_app_is_sent(ignore: FuncIgnore, reader: str) -> None:
    app = {path for name in APP for path in [PROJECT / name, *(PROJECT / name).rglob("*")]}
    files = {
        PurePosixPath(path.relative_to(PROJECT).as_posix())
        for path in app
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert files - files_sent(PROJECT, getattr(ignore, reader)) == set()


@pytest.mark.parametrize("reader", ["as_gitignore", "as_core_tools"])
def test_secrets_and_state_of_this_machine_stay_here(ignore: FuncIgnore, reader: str) -> None:
    ignored = getattr(ignore, reader)

    for path in (".env", ".local/state", "local.settings.json", ".azure/dev/.env", ".git/config"):
        assert ignored(PurePosixPath(path)), path
    for secrets in (".env.local", ".env.production.json", "prod.env"):
        assert ignored(PurePosixPath(secrets)), secrets


@pytest.mark.parametrize("reader", ["as_gitignore", "as_core_tools"])
@pytest.mark.parametrize(
    "name", ["venv", ".venv", "env", "my_env", ".venv-3.13", "venv313", "envs"]
)
def test_a_virtual_environment_stays_here(ignore: FuncIgnore, reader: str, name: str) -> None:
    ignored = getattr(ignore, reader)

    assert ignored(PurePosixPath(name))
    assert not ignored(PurePosixPath("agent", name))


@pytest.mark.parametrize("reader", ["as_gitignore", "as_core_tools"])
def test_compiled_files_stay_here_in_every_folder(ignore: FuncIgnore, reader: str) -> None:
    ignored = getattr(ignore, reader)

    for path in ("__pycache__", "agent/__pycache__", "agent/http/openai/__pycache__"):
        assert ignored(PurePosixPath(path)), path


def test_dependencies_that_were_built_beforehand_are_sent(ignore: FuncIgnore) -> None:
    module = PurePosixPath(".python_packages/lib/site-packages/openai/__init__.py")

    assert not ignore.as_gitignore(module)
    assert not ignore.as_core_tools(module)


def test_package_has_the_app_at_its_root(app_dir: Path) -> None:
    assert {path.name for path in app_dir.iterdir()} == APP | {".python_packages"}
