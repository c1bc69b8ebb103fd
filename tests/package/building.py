"""Makes the package that the app runs from, as the remote build of Flex Consumption does."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.package.funcignore import FuncIgnore, files_sent

PROJECT = Path(__file__).parents[2]
SITE_PACKAGES = Path(".python_packages/lib/site-packages")


def build_package(project: Path, folder: Path) -> Path:
    """Build the package of a project in a folder.

    Returns:
        The zip, which holds the files that were sent and their dependencies.
    """
    tree = folder / "tree"
    for file in files_sent(project, FuncIgnore.read(project).as_gitignore):
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(project / file, tree / file)
    _install(tree / "requirements.txt", tree / SITE_PACKAGES)
    package = folder / "package.zip"
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(tree.rglob("*")):
            archive.write(path, path.relative_to(tree))
    return package


def _install(requirements: Path, target: Path) -> None:
    """Install as pip does with PIP_NO_DEPS and SOURCE_DATE_EPOCH (test_build_settings.py)."""
    command: list[str | Path] = [
        "/usr/bin/env", "PYC_INVALIDATION_MODE=CHECKED_HASH", Path(sys.executable).with_name("uv"),
        "pip", "install", "--quiet", "--no-deps", "--compile-bytecode", "--python", sys.executable,
        "--target", target, "-r", requirements,
    ]  # fmt: skip
    # What .venv was installed from is still at hand; only if it is not is the index asked.
    for offline in (["--offline"], []):
        installed = subprocess.run(
            [*command, *offline],
            capture_output=True,
            text=True,
            check=False,
        )
        if installed.returncode == 0:
            return
    raise AssertionError(installed.stderr)
