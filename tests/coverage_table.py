"""`COVERAGE=1 make test` prints this: how many lines of each room the tests ran.

Lines count wherever they ran: in pytest, in the functions host and the app in it, in a command.
"""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath


def table(covered: Mapping[str, int], statements: Mapping[str, int]) -> str:
    """Rooms, one a line, and the total; takes figures by path of the file."""
    rooms: dict[str, Counter[str]] = {}
    for path, count in statements.items():
        parts = PurePosixPath(path).with_suffix("").parts
        figures = Counter(covered=covered[path], statements=count)
        rooms.setdefault("/".join(parts[:2]), Counter()).update(figures)
        rooms.setdefault("~total", Counter()).update(figures)  # sorts last
    return "\n".join(
        f"{room.removeprefix('~'):24}{figures['covered'] / figures['statements']:>8.1%}"
        f"{figures['statements']:>8} lines"
        for room, figures in sorted(rooms.items())
        if figures["statements"]
    )


def main() -> None:
    """Combine what the processes wrote, and print it."""
    coverage = [sys.executable, "-m", "coverage"]
    subprocess.run([*coverage, "combine", "-q"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        subprocess.run([*coverage, "json", "-q", "-o", str(report)], check=True)
        files = json.loads(report.read_text())["files"]
    # The sample apps of tests have a function_app.py too; their paths are not below the project.
    ours = {path: file for path, file in files.items() if not Path(path).is_absolute()}
    summaries = {path: file["summary"] for path, file in ours.items()}
    covered = {path: summary["covered_lines"] for path, summary in summaries.items()}
    print(table(covered, {path: s["num_statements"] for path, s in summaries.items()}))


if __name__ == "__main__":
    main()
