"""infra/ compiles, keeps every linter rule, is formatted, and deploys what the snapshots say."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import PROJECT
from tests.support.bicep import CONFIGURATIONS, INFRA, VERSION, Bicep, Outcome


@pytest.fixture(scope="session")
def version(bicep: Bicep) -> str:
    """Version of the compiler that is installed here."""
    return bicep.version()


def expect(holds: bool, otherwise: str, version: str) -> None:
    """Fail if the compiler that wrote the snapshots disagrees; another one may."""
    if not holds and version != VERSION:
        pytest.skip(f"Bicep {version} sees it otherwise than {VERSION}: {otherwise}")
    assert holds, otherwise


def test_template_compiles_without_a_word_from_compiler_or_linter(
    build: subprocess.CompletedProcess[str], version: str
) -> None:
    assert build.returncode == 0, build.stderr
    expect(build.stderr == "", build.stderr, version)


def test_every_linter_rule_is_an_error_and_none_is_silenced_in_a_file() -> None:
    text = re.sub(r"^\s*//.*$", "", (INFRA / "bicepconfig.json").read_text(), flags=re.MULTILINE)
    core = json.loads(text)["analyzers"]["core"]

    assert core["enabled"] is True
    assert len(core["rules"]) >= 42
    assert {rule["level"] for rule in core["rules"].values()} == {"error"}
    assert not [f.name for f in INFRA.rglob("*.bicep") if "#disable" in f.read_text()]


def test_every_file_is_formatted(bicep: Bicep, version: str, tmp_path: Path) -> None:
    shutil.copytree(INFRA, tmp_path / "infra")
    shutil.copytree(PROJECT / "tests/infra", tmp_path / "tests/infra")

    for pattern in ("infra/**/*.bicep", "tests/infra/*.bicepparam"):
        bicep.run("format", "--pattern", tmp_path / pattern)

    files = [*INFRA.rglob("*.bicep"), *CONFIGURATIONS]
    unformatted = [
        str(file.relative_to(PROJECT))
        for file in files
        if (tmp_path / file.relative_to(PROJECT)).read_text() != file.read_text()
    ]
    expect(not unformatted, f"`bicep format` changes {unformatted}", version)


def test_nothing_is_fetched_to_compile() -> None:
    sources = "".join(file.read_text() for file in INFRA.rglob("*.bicep"))

    assert not re.findall(r"'(?:br|ts)[:/]|^extension ", sources, flags=re.MULTILINE)


@pytest.fixture(scope="session")
def predicted(
    bicep: Bicep, build: Outcome, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Outcome]]:
    """Where the snapshots of today are, and how making each of them ended."""
    folder = tmp_path_factory.mktemp("snapshots")
    return folder, bicep.predict_all(build.stdout, folder)


@pytest.mark.parametrize("name", [c.stem for c in CONFIGURATIONS])
def test_snapshot_shows_what_is_deployed(
    predicted: tuple[Path, dict[str, Outcome]], version: str, name: str
) -> None:
    folder, outcomes = predicted
    assert outcomes[name].returncode == 0, outcomes[name].stdout + outcomes[name].stderr
    today = json.loads((folder / f"{name}.snapshot.json").read_text())
    committed = json.loads((INFRA.parent / f"tests/infra/{name}.snapshot.json").read_text())

    if version == VERSION:
        assert today == committed, "if it is meant, `python -m tests.infra` writes the snapshots"
    expect(today == committed, "another snapshot", version)


def test_snapshots_name_no_machine() -> None:
    snapshots = {c: c.with_suffix(".snapshot.json").read_text() for c in CONFIGURATIONS}

    assert snapshots
    assert all('diagnostics": []' in text for text in snapshots.values())
    for text in snapshots.values():
        assert str(PROJECT) not in text
        assert not re.search(r'"(?:[A-Z]:\\|/(?:home|root|tmp|Users|var|work)/)|file:', text)
