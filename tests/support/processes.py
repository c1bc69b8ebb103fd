"""Starts the project's programs as a developer does, and reads what they print."""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tests.support import PROJECT

# Set where `coverage` measures: the processes that tests start are measured too.
_MEASURING = "COVERAGE_PROCESS_CONFIG"
MEASURED = {n: v for n, v in os.environ.items() if n == _MEASURING}  # noqa: TID251 - coverage sets it for the processes of a program that it measures


class Reads(Protocol):
    """Something that reads a process's output until it ends."""

    def read(self) -> None: ...


@contextlib.contextmanager
def read_process[R: Reads](
    command: Sequence[str],
    environment: Mapping[str, str],
    reader_of: Callable[[subprocess.Popen[str]], R],
) -> Iterator[R]:
    """Run a command while the block runs, its output read as it comes; then kill what is left."""
    with subprocess.Popen(
        command,
        cwd=PROJECT,
        env={"PATH": os.defpath, **MEASURED, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        reader = reader_of(process)
        thread = threading.Thread(target=reader.read)
        thread.start()
        try:
            yield reader
        finally:
            end(process)
            thread.join()


def end(process: subprocess.Popen[str]) -> None:
    """Kill a process; where it is measured, let it write its figures first."""
    if MEASURED:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
    process.kill()
    process.wait()


def cpu_s(pid: int) -> float:
    """CPU time that a process has used, in user and system mode, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_until(holds: Callable[[], bool], timeout_s: float = 60) -> None:
    """Wait for a state; fails if it does not come."""
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s, "the state did not come"
        time.sleep(0.01)
