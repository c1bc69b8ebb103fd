"""Installs what tests need beside the project's own packages: once, below .local."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support import PROJECT

_TIMEOUT_S = 300


class InstallationError(Exception):
    """A tool is missing or failed; the message says what to do."""


def installed(name: str, sources: Sequence[Path], install: Callable[[Path], None]) -> Path:
    """Return the folder that `install` filled, now or in an earlier run.

    The folder is named after the contents of `sources` and the Python, and appears only when it is
    complete: a broken download is not taken for an installation. Other processes wait meanwhile.
    """
    root = PROJECT / ".local" / name
    root.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(sys.version.encode())
    for source in sources:
        digest.update(source.read_bytes())
    folder = root / digest.hexdigest()[:16]
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            draft = root / "draft"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            install(draft)
            draft.rename(folder)
    return folder


def python_packages(name: str, requirements: Path, *, compiled: bool = False) -> Path:
    """Return a folder with the packages of a requirements file, which names all of them.

    Args:
        name: of the folder.
        requirements: the file.
        compiled: as Azure's remote build compiles them: all, valid by their contents, not by time.
            Otherwise Python compiles what it imports, a small part of most packages.
    """

    def install(folder: Path) -> None:
        uv = Path(sys.executable).with_name("uv")
        installer: list[str | Path] = [sys.executable, "-m", "pip", "install"]
        attempts: list[list[str]] = [[]]
        if uv.exists():
            installer = [uv, "pip", "install", "--python", sys.executable]
            installer += ["--compile-bytecode"] if compiled else []
            # What .venv was installed from is still at hand; only if it is not is the index asked.
            attempts = [["--offline"], []]
        else:
            installer += [] if compiled else ["--no-compile"]
        command = [
            *["/usr/bin/env", "PYC_INVALIDATION_MODE=CHECKED_HASH", "SOURCE_DATE_EPOCH=315532800"],
            *[*installer, "--quiet", "--no-deps", "--target", folder, "-r", requirements],
        ]
        for attempt in attempts:
            # Away from the project, whose uv settings leave packages out.
            failure = _failure([*command, *attempt], Path("/"))
            if failure is None:
                return
        raise InstallationError(f"{requirements.name} could not be installed:\n{failure}")

    return installed(name, [requirements], install)


def npm_packages(name: str, folder: Path, files: Sequence[str]) -> Path:
    """Return a copy of `files` of a folder, beside the node_modules that package-lock.json pins."""

    def install(copy: Path) -> None:
        for file in files:
            shutil.copy(folder / file, copy)
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        failure = _failure([node_program("npm"), "ci", *options], copy)
        if failure is not None:
            raise InstallationError(f"npm could not install {name}:\n{failure}")

    return installed(name, [folder / file for file in files], install)


def node_program(name: str) -> str:
    """Return the path of `node` or `npm`."""
    path = shutil.which(name)
    if path is None:
        raise InstallationError(
            f"These tests need {name}, of Node.js 20 or later: apt install npm."
        )
    return path


def _failure(command: Sequence[str | Path], folder: Path) -> str | None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
    )
    return (done.stdout + done.stderr)[-2000:] if done.returncode else None
