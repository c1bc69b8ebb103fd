"""The two app settings that infra/ gives to the remote build do to pip what they are meant to."""

import os
import subprocess
import sys
import zipfile
from importlib.util import source_hash
from pathlib import Path

import pytest

from tests.infra.prediction import PREDICTIONS

FLEX = PREDICTIONS["default"].settings()["flex"]
CODE = b"answer = 42\n"
CHECKED_HASH = 0b11


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that requires another, which exists nowhere."""
    path = tmp_path_factory.mktemp("wheel") / "probe-1.0-py3-none-any.whl"
    info = "probe-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("probe.py", CODE)
        archive.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: probe\nVersion: 1.0\nRequires-Dist: exists-nowhere\n",
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def pip_install(wheel: Path, target: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-index", "--target", target, wheel],
        env={"PATH": os.defpath, **settings},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_pip_no_deps_pip_wants_what_the_package_requires(
    wheel: Path, tmp_path: Path
) -> None:
    assert "exists-nowhere" in pip_install(wheel, tmp_path).stderr


def test_build_settings_leave_out_dependencies_and_check_bytecode_by_content(
    wheel: Path, tmp_path: Path
) -> None:
    settings = {name: FLEX[name] for name in ("PIP_NO_DEPS", "SOURCE_DATE_EPOCH")}

    installed = pip_install(wheel, tmp_path, **settings)

    assert installed.returncode == 0, installed.stderr
    (bytecode,) = tmp_path.glob("__pycache__/probe.*.pyc")
    assert bytecode.read_bytes()[4:16] == CHECKED_HASH.to_bytes(4, "little") + source_hash(CODE)
