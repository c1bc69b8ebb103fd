"""`python -m bench.page [PART …]`: run parts of `make bench`, put their tables into their pages.

A page has a place for each part, from `<!-- bench.streaming -->` to `<!-- end -->`.
What was measured while the machine did something else is printed and not put there.
"""

import argparse
import re
import subprocess
import sys
from typing import Final

from bench.app_process import ROOT
from bench.judging import NOT_JUDGED

PAGES: Final = (ROOT / "docs/performance.md", ROOT / "docs/session-pool.md")
_TABLE: Final = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)
_PLACE: Final = re.compile(r"(<!-- (bench[\w.]*) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(words: list[str]) -> int:
    """Run and write; the exit code is the highest of the parts'."""
    parts = [part for page in PAGES for part in parts_of(page.read_text())]
    parser = argparse.ArgumentParser(prog="python -m bench.page")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"default: {' '.join(parts)}")
    statuses = [_measure(part) for part in parser.parse_args(words).parts or parts]
    return max(statuses)


def parts_of(page: str) -> list[str]:
    """The parts that have a place on the page."""
    return [place[2] for place in _PLACE.finditer(page)]


def with_table(page: str, part: str, printed: str) -> str:
    """The page with the tables that a part printed in their place; a part that fails prints none.

    Raises:
        ValueError: it has no place.
    """
    if part not in parts_of(page):
        raise ValueError(f"there is no place for {part}")
    tables = "\n".join(_TABLE.findall(printed))
    if not tables:
        return page
    return _PLACE.sub(
        lambda place: f"{place[1]}{tables}{place[3]}" if place[2] == part else place[0], page
    )


def _measure(part: str) -> int:
    done = subprocess.run(  # noqa: S603 - one of the modules named in the pages of this repository, or by who starts the command
        [sys.executable, "-m", part], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    print(done.stdout)
    if done.returncode != NOT_JUDGED:
        page = next(page for page in PAGES if part in parts_of(page.read_text()))
        page.write_text(with_table(page.read_text(), part, done.stdout))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
