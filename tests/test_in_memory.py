"""The command that puts the tests' temporary files in memory."""

import subprocess
from pathlib import Path

import pytest

from tests.support import PROJECT


def run(command: str, *, df: str | None = None, folder: Path | None = None) -> tuple[int, str]:
    """Exit status and output; `df` is a program of that name, in the folder."""
    path = "/usr/bin:/bin"
    if df is not None and folder is not None:
        (folder / "df").write_text(f"#!/bin/sh\n{df}\n")
        (folder / "df").chmod(0o755)
        path = f"{folder}:{path}"
    done = subprocess.run(
        [PROJECT / "tests/in_memory.sh", "/bin/sh", "-c", command],
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.strip()


def test_the_folder_is_in_memory_for_any_user_and_gone_afterwards(tmp_path: Path) -> None:
    plenty = "printf 'Avail\\n 9999\\n'"
    status, said = run("echo $TMPDIR; stat -c %a $TMPDIR; exit 3", df=plenty, folder=tmp_path)
    assert status == 3
    if not said.startswith("/dev/shm/"):  # noqa: S108 - compared with what the command printed; the test makes no file there
        pytest.skip("nothing in /dev/shm may be executed here")
    made, mode = said.split()
    assert mode == "1777"
    assert not Path(made).exists()


@pytest.mark.parametrize("df", ["printf 'Avail\\n 4095\\n'", "exit 1"])
def test_with_too_little_memory_files_stay_where_they_are(tmp_path: Path, df: str) -> None:
    assert run("echo [$TMPDIR]; exit 3", df=df, folder=tmp_path) == (3, "[]")
