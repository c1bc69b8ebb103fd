"""Installs Azurite from npm as package-lock.json pins it, once."""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
INSTALLATIONS = Path(__file__).parents[2] / ".local" / "azurite"
MANIFESTS = ("package.json", "package-lock.json")


class NpmError(Exception):
    """npm is missing or failed; the message says what to do."""


def install() -> Path:
    """Azurite's blob server as a file for node; downloaded if this version was not before.

    The folder is named after the lock file and appears only when it is complete, so a broken
    download is not taken for an installation, and two test runs at a time do not meet.
    """
    pins = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in MANIFESTS))
    folder = INSTALLATIONS / pins.hexdigest()[:16]
    if not folder.exists():
        _npm_ci(folder)
    return folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"


def node() -> str:
    """The node to run it with."""
    path = shutil.which("node")
    if path is None:
        raise NpmError("The tests of the blob store need node 18 or newer: apt-get install npm.")
    return path


def _npm_ci(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise NpmError("The tests of the blob store need npm: apt-get install npm.")
    INSTALLATIONS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=INSTALLATIONS, ignore_cleanup_errors=True) as draft:
        for name in MANIFESTS:
            shutil.copy(HERE / name, draft)
        done = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=draft,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise NpmError(f"npm could not install Azurite:\n{done.stderr[-2000:]}")
        if not folder.exists():
            Path(draft).rename(folder)
            Path(draft).mkdir()  # for the context to remove
