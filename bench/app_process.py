"""A function app in a process of its own, and what that process costs."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from local.tls import TlsFiles

ROOT = Path(__file__).parents[1]
FULL_ENVIRONMENT = ROOT / ".local" / "bench-env"
FULL_PYTHON = FULL_ENVIRONMENT / "bin" / "python"
_CPUCLOCK_SCHED = 2
TELEMETRY = (
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED",
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL",
)


@dataclass(frozen=True)
class App:
    """One of the apps to compare.

    Attributes:
        name: its column.
        folder: with its function_app.py.
        python: of the environment it is installed in.
        telemetry: whether it sends its telemetry to the Azure that costs nothing.
        packages: a folder of packages that go before those of its environment.
        module: what runs it.
        settings: app settings of its own.
    """

    name: str
    folder: Path
    python: Path
    telemetry: bool = False
    packages: Path | None = None
    module: str = "local.functions_host"
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunningApp:
    """A started host."""

    process: subprocess.Popen[bytes]
    url: str

    def cpu_s(self) -> float:
        """User and system time of the process so far."""
        # What clock_getcpuclockid(3) gives on Linux: nanoseconds, where /proc has hundredths.
        return time.clock_gettime((~self.process.pid << 3) | _CPUCLOCK_SCHED)

    def rss_mb(self) -> float:
        """Resident memory now."""
        return self._status_mb("VmRSS")

    def peak_rss_mb(self) -> float:
        """Resident memory at its most."""
        return self._status_mb("VmHWM")

    def _status_mb(self, name: str) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1024
        raise ValueError(f"no {name}")


def install_full_environment() -> None:
    """Install what the other apps need, unless it is there."""
    requirements, installed = ROOT / "bench/requirements.txt", FULL_ENVIRONMENT / "requirements.txt"
    if installed.exists() and installed.read_text() == requirements.read_text():
        return
    print("installing what the other two apps need, once ...", file=sys.stderr)
    uv = Path(sys.executable).with_name("uv")
    commands: tuple[list[str | Path], ...] = (
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, FULL_ENVIRONMENT],
        [
            uv,
            "pip",
            "install",
            "--no-config",
            "--quiet",
            "--python",
            FULL_PYTHON,
            "-r",
            requirements,
        ],
    )
    for command in commands:
        subprocess.run(command, check=True)  # noqa: S603 - the two commands above: uv of this environment, paths of this repository
    shutil.copy(requirements, installed)


@contextmanager
def running(app: App, settings: Mapping[str, str]) -> Iterator[RunningApp]:
    """Start the app on the functions host; it may still be loading when the block begins."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = subprocess.Popen(  # noqa: S603 - the functions host of this repository; the app and its port are ours
        [app.python, "-m", app.module, app.folder, "--port", str(port)],
        cwd=ROOT,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": ":".join(str(path) for path in (app.packages, ROOT) if path),
            **{name: settings[name] for name in settings if app.telemetry or name not in TELEMETRY},
            **app.settings,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield RunningApp(process, f"http://127.0.0.1:{port}/api/chat")
    finally:
        process.terminate()
        process.wait(timeout=20)


def first_answer(app: RunningApp) -> None:
    """Ask until there is an answer."""
    give_up = time.monotonic() + 60
    while True:
        try:
            reply = httpx2.post(app.url, json={"input": "What time is it?"}, timeout=60)
            if reply.status_code == httpx2.codes.OK:
                return
        except httpx2.TransportError:
            reply = None
        if app.process.poll() is not None or time.monotonic() > give_up:
            raise TimeoutError(f"no answer: {reply.text if reply else 'no connection'}")
        time.sleep(0.02)


@contextmanager
def fake_azure(folder: Path) -> Iterator[Mapping[str, str]]:
    """Start bench.fake_azure; the app settings that lead to it. `folder` gets its certificate."""
    tls = TlsFiles(folder)
    certificate, key = tls.server_files()
    command = [sys.executable, "-m", "bench.fake_azure", certificate, key]
    process = subprocess.Popen(  # noqa: S603 - bench.fake_azure by this interpreter, with files of our own making
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    told = process.stdout.readline() if process.stdout else b""
    try:
        yield {
            **json.loads(told),
            "AZURE_OPENAI_CHAT_DEPLOYMENT_NAME": "fake",
            "IDENTITY_HEADER": "header",
            "SSL_CERT_FILE": str(tls.authority),
        }
    finally:
        process.communicate(timeout=20)  # it ends with its input
