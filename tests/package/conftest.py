"""The package, built once and unpacked somewhere else, as it is in Azure."""

import zipfile
from pathlib import Path

import pytest

from tests.package.building import build_package
from tests.support import PROJECT


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip that the remote build leaves."""
    return build_package(PROJECT, tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="session")
def app_dir(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the app starts from; no file has the time it had when it was compiled."""
    folder = tmp_path_factory.mktemp("wwwroot")
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)
    return folder
