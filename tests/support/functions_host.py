"""Runs the functions host as a process of its own, as a developer does."""

import contextlib
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.processes import read_process

_URL = re.compile(r"http://localhost:\d+")


@dataclass
class HostProcess:
    """A started host; `lines` grows while it runs, stdout and stderr together."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    url: str = ""
    _ready: threading.Event = field(default_factory=threading.Event)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait_until_ready(self) -> None:
        assert self._ready.wait(120), self.output
        assert self.url, self.output

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Send a signal; returns the exit code."""
        self.process.send_signal(signal_number)
        return self.process.wait(60)

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if not self.url and (url := _URL.search(line)):
                self.url = url[0]
            if self.url and not line.strip():  # the route table ends with an empty line
                self._ready.set()
        self._ready.set()


@contextlib.contextmanager
def host_process(
    app_dir: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[HostProcess]:
    """Start `python -m local.functions_host` on a free port; kill what is left of it at the end."""
    command = [sys.executable, "-m", "local.functions_host", str(app_dir), *arguments]
    if "--port" not in arguments:
        command += ["--port", "0"]
    with read_process(command, environment or {}, HostProcess) as host:
        yield host
