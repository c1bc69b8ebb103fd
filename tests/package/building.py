"""Makes the package that the app runs from, as the remote build of Flex Consumption does."""

import shutil
import zipfile
from pathlib import Path

from tests.package.funcignore import FuncIgnore, files_sent
from tests.support.installation import python_packages

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
    packages = python_packages("package", tree / "requirements.txt", compiled=True)
    package = folder / "package.zip"
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(tree.rglob("*")):
            archive.write(path, path.relative_to(tree))
        for path in sorted(packages.rglob("*")):
            archive.write(path, SITE_PACKAGES / path.relative_to(packages))
    return package
