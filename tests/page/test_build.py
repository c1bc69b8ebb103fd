"""The committed bundle is what its sources build; none of it is too large."""

import gzip
from pathlib import Path

import pytest

from tests.page.building import run_in, sources_with_build
from tests.support import PROJECT

DIST = PROJECT / "agent/http/page/dist"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sources_with_build(tmp_path_factory.mktemp("page") / "page")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_committed_page_is_byte_for_byte_what_its_sources_build(
    sources: Path, tmp_path: Path
) -> None:
    run_in(sources, "node", "build.mjs", str(tmp_path / "dist"))
    assert contents(DIST) == contents(tmp_path / "dist"), "run `make page` and commit its result"


def test_its_sources_have_no_type_errors(sources: Path) -> None:
    run_in(sources, "npm", "run", "--silent", "check")


def test_its_own_tests_pass(sources: Path) -> None:
    report = run_in(sources, "npm", "test", "--silent")
    assert "# fail 0" in report
    assert "# pass 0" not in report


def test_the_whole_page_takes_at_most_80_kb_on_the_wire() -> None:
    assert sum(len(gzip.compress(content)) for content in contents(DIST).values()) <= 80_000


def test_the_page_names_no_other_origin_to_load_from() -> None:
    html = (DIST / "index.html").read_text()
    assert 'src="/api/ui/' in html
    assert "https://" not in html


def test_the_lock_file_names_no_registry() -> None:
    assert "resolved" not in (PROJECT / "page/package-lock.json").read_text()
