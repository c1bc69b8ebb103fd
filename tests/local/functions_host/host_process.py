"""Runs the functions host as a process of its own, as a developer does."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

PROJECT = Path(__file__).parents[3]
APPS = Path(__file__).parent / "apps"
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
        assert self._ready.wait(30), self.output
        assert self.url, self.output

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Send a signal; returns the exit code."""
        self.process.send_signal(signal_number)
        return self.process.wait(30)

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if not self.url and (url := _URL.search(line)):
                self.url = url[0]
            if self.url and not line.strip():  # the route table ends with an empty line
                self._ready.set()
        self._ready.set()


def copy_app(name: str, to: Path, settings: object = None, host_json: object = None) -> Path:
    """Copy a sample app into a folder of its own, with a local.settings.json if given."""
    folder = Path(shutil.copytree(APPS / name, to / name))
    if settings is not None:
        (folder / "local.settings.json").write_text(json.dumps(settings))
    if host_json is not None:
        (folder / "host.json").write_text(json.dumps(host_json))
    return folder


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
        env={"PATH": os.defpath, **environment},
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
            process.kill()
            process.wait()
            thread.join()


def wait_until(holds: Callable[[], bool], timeout_s: float = 10) -> None:
    """Wait for a state; fails if it does not come."""
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s, "the state did not come"
        time.sleep(0.01)
