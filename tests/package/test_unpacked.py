"""The unpacked package is complete, and none of its files has to be compiled again."""

import os
import subprocess
import sys
from importlib.util import source_from_cache, source_hash
from pathlib import Path

from agent.model.lean_imports import UNUSED
from tests.package.building import SITE_PACKAGES

CHECKED_HASH = 0b11


def test_every_compiled_file_is_still_valid(app_dir: Path) -> None:
    compiled = list((app_dir / SITE_PACKAGES).rglob("*.pyc"))
    stale = [
        file
        for file in compiled
        if file.read_bytes()[4:16]
        != CHECKED_HASH.to_bytes(4, "little")
        + source_hash(Path(source_from_cache(str(file))).read_bytes())
    ]

    assert len(compiled) > 1000
    assert stale == []


def test_packages_that_have_a_stand_in_are_not_deployed(app_dir: Path) -> None:
    deployed = {path.name for path in (app_dir / SITE_PACKAGES).iterdir()}

    assert {"openai", "semantic_kernel"} <= deployed
    # Of others some modules alone have one.
    assert {name for name in UNUSED if "." not in name} & deployed == set()


def test_package_needs_nothing_beside_it(app_dir: Path) -> None:
    # -I -S: Python's own library and these two folders, nothing of .venv.
    program = (
        f"import sys; sys.path[:0] = [{str(app_dir)!r}, {str(app_dir / SITE_PACKAGES)!r}]; "
        "import function_app, agent.http.dispatch; print(agent.http.dispatch.__file__)"
    )
    settings = {"AZURE_OPENAI_ENDPOINT": "https://example.openai.azure.com"}
    imported = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],
        cwd=app_dir,
        env={"PATH": os.defpath, **settings},
        capture_output=True,
        text=True,
        check=False,
    )

    assert imported.returncode == 0, imported.stderr
    assert imported.stdout.strip() == str(app_dir / "agent/http/dispatch.py")
