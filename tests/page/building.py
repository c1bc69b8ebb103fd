"""The build of the chat page, installed from npm once as page/package-lock.json pins it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import PROJECT
from tests.support.installation import npm_packages

SOURCES = PROJECT / "page"


def installed_build() -> Path:
    """A folder with the build's tools."""
    return npm_packages("page", SOURCES, [".npmrc", "package.json", "package-lock.json"])


def sources_with_build(folder: Path) -> Path:
    """The sources beside the installed tools, in a folder that the test may write to."""
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("node_modules"))
    (folder / "node_modules").symlink_to(installed_build() / "node_modules")
    return folder


def run_in(folder: Path, *command: str) -> str:
    """Run a command of the build; its output, or a failure with it."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout
