"""The build of the chat page, installed from npm once as page/package-lock.json pins it."""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SOURCES = PROJECT / "page"
INSTALLATIONS = PROJECT / ".local" / "page"
MANIFESTS = (".npmrc", "package.json", "package-lock.json")


def installed_build() -> Path:
    """A folder with the build's tools; it is made complete, so that two test runs do not meet."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("building the page needs Node.js and npm: apt-get install npm")
    pins = hashlib.sha256(b"".join((SOURCES / name).read_bytes() for name in MANIFESTS))
    folder = INSTALLATIONS / pins.hexdigest()[:16]
    if not folder.exists():
        INSTALLATIONS.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=INSTALLATIONS, ignore_cleanup_errors=True) as draft:
            for name in MANIFESTS:
                shutil.copy(SOURCES / name, draft)
            _run([npm, "ci", "--ignore-scripts", "--loglevel=error"], Path(draft))
            if not folder.exists():
                Path(draft).rename(folder)
                Path(draft).mkdir()  # for the context to remove
    return folder


def sources_with_build(folder: Path) -> Path:
    """The sources beside the installed tools, in a folder that the test may write to."""
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("node_modules"))
    (folder / "node_modules").symlink_to(installed_build() / "node_modules")
    return folder


def run_in(folder: Path, *command: str) -> str:
    """Run a command of the build; its output, or a failure with it."""
    return _run(list(command), folder)


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout
