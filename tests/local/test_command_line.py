"""The commands a developer types, as processes: `make run`, `python -m local`, and set-up."""

import contextlib
import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.local.functions_host.host_process import PROJECT, read_process

_PR_SET_CHILD_SUBREAPER = 36

type Orphans = Callable[[], list[str]]
type Refusal = Callable[..., str]


@pytest.fixture
def orphans() -> Iterator[Orphans]:
    """List the command lines of processes that outlived the command of this test.

    An orphan becomes a child of the nearest ancestor that asked for it, which is this process.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = set(child_pids())

    def running() -> list[str]:
        found = []
        for pid in set(child_pids()) - before:
            with contextlib.suppress(OSError):
                if os.waitpid(int(pid), os.WNOHANG) == (0, 0):
                    found.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
        return found

    yield running
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def child_pids() -> list[str]:
    """Process ids of the children of all threads of this process."""
    lists = Path("/proc/self/task").glob("*/children")
    return [pid for children in lists for pid in children.read_text().split()]


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [probe.getsockname()[1] for probe in probes]


@dataclass
class Command:
    """A started command; `output` grows while it runs."""

    process: subprocess.Popen[str]
    output: str = ""
    ended: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.output += line
                self._changed.notify_all()
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def wait_for(self, text: str, timeout_s: float = 60) -> None:
        with self._changed:
            self._changed.wait_for(lambda: text in self.output or self.ended, timeout_s)
            assert text in self.output, self.output


@contextlib.contextmanager
def command(*arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Command]:
    program = [sys.executable, "-m", "local", *arguments]
    with read_process(program, environment or {}, Command) as started:
        yield started


def stack_ports() -> list[str]:
    names = ("--openai-port", "--pool-port", "--identity-port")
    return [f"{name}={port}" for name, port in zip(names, free_ports(3), strict=True)]


@pytest.fixture
def refusal(orphans: Orphans) -> Refusal:
    """Run a command that must fail and leave nothing; returns what it says."""

    def run(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
        with command(*arguments, environment=environment) as started:
            assert started.process.wait(60) == 1
        assert orphans() == []
        return started.output

    return run


def test_run_asks_the_question_and_serves_until_it_is_interrupted(orphans: Orphans) -> None:
    port = free_ports(1)[0]
    with command("run", f"--port={port}", *stack_ports()) as run:
        run.wait_for("Ctrl-C stops all.")
        assert "Question: What is the current date and time?" in run.output
        assert re.search(r"Answer \(\d+\.\d s\): .*20\d\d", run.output)
        assert re.search(r"Python that ran in a session \(\d+ ms\)", run.output)
        assert "The model is a stand-in" in run.output
        # The line it prints to go on with works as it is printed.
        line = re.search(r"curl (\S+) -H '(\S+): (\S+)' -d '(.*)'", run.output)
        assert line is not None
        url, name, value, body = line.groups()
        answer = httpx.post(url, headers={name: value}, content=body, timeout=60)
        assert answer.status_code == 200
        assert "1267650600228229401496703205376" in answer.json()["output"]
        run.process.send_signal(signal.SIGINT)
        assert run.process.wait(30) == 0
    assert "Traceback" not in run.output
    assert orphans() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_run_leaves_no_process_however_it_ends(number: int, orphans: Orphans) -> None:
    with command("run", f"--port={free_ports(1)[0]}", *stack_ports()) as run:
        run.wait_for("Ready in")
        run.process.send_signal(number)
        run.process.wait(30)
        wait_until(lambda: not orphans(), orphans)


def wait_until(holds: Callable[[], bool], what: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline_s, what()
        time.sleep(0.02)


def test_run_enforces_a_function_key_that_is_set() -> None:
    port = free_ports(1)[0]
    environment = {"LOCAL_FUNCTION_KEY": "a-key"}
    with command("run", f"--port={port}", *stack_ports(), environment=environment) as run:
        run.wait_for("Ctrl-C stops all.")
        assert "-H 'x-functions-key: a-key'" in run.output
        assert httpx.get(f"http://127.0.0.1:{port}/api/chat?input=hello").status_code == 401


def test_the_local_azure_alone_prints_settings_that_work(orphans: Orphans) -> None:
    with command(*stack_ports()) as azure:
        azure.wait_for("Ctrl-C stops it.")
        settings = dict(re.findall(r"export (\w+)=(\S+)", azure.output))
        answer = httpx.get(
            settings["IDENTITY_ENDPOINT"],
            params={"api-version": "2019-08-01", "resource": "https://dynamicsessions.io"},
            headers={"x-identity-header": settings["IDENTITY_HEADER"]},
        )
        assert answer.status_code == 200
        assert {"AZURE_OPENAI_ENDPOINT", "POOL_MANAGEMENT_ENDPOINT"} <= settings.keys()
        azure.process.send_signal(signal.SIGINT)
        assert azure.process.wait(30) == 0
    assert orphans() == []


def test_sessions_alone_start_no_model() -> None:
    with command("sessions", *stack_ports()[1:]) as sessions:
        sessions.wait_for("Ctrl-C stops it.")
        assert "POOL_MANAGEMENT_ENDPOINT" in sessions.output
        assert "AZURE_OPENAI" not in sessions.output


@pytest.mark.parametrize("arguments", [[], ["run"]])
def test_a_port_in_use_is_one_sentence(arguments: list[str], refusal: Refusal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        output = refusal(*arguments, *stack_ports()[:2], f"--identity-port={port}")
    assert output == f"port {port} is in use: stop what listens there or choose another port\n"


def test_a_functions_port_in_use_is_found_before_anything_starts(refusal: Refusal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        output = refusal("run", f"--port={port}", *stack_ports())
    assert output == f"port {port} is in use: stop what listens there or choose another port\n"


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"LOCAL_MODEL_URL": "ftp://model"}, "LOCAL_MODEL_URL must be an http or https URL"),
        ({"LOCAL_MODEL_URL": "http://127.0.0.1:1/v1"}, "LOCAL_MODEL_NAME must say which model"),
    ],
)
def test_a_model_that_is_named_badly_is_refused(
    environment: Mapping[str, str], sentence: str, refusal: Refusal
) -> None:
    output = refusal("run", *stack_ports(), environment=environment)
    assert output.startswith(sentence)
    assert output.count("\n") == 1


def test_a_model_server_that_does_not_answer_ends_the_run(refusal: Refusal) -> None:
    environment = {
        "LOCAL_MODEL_URL": f"http://127.0.0.1:{free_ports(1)[0]}/v1",
        "LOCAL_MODEL_NAME": "any",
    }
    output = refusal("run", f"--port={free_ports(1)[0]}", *stack_ports(), environment=environment)
    assert "The question was not answered (502): " in output


def test_an_app_that_cannot_be_indexed_ends_the_run(tmp_path: Path, refusal: Refusal) -> None:
    (tmp_path / "host.json").write_text(json.dumps({"version": "2.0"}))
    (tmp_path / "function_app.py").write_text("import a_module_that_is_not_there\n")
    output = refusal("run", f"--app={tmp_path}", f"--port={free_ports(1)[0]}", *stack_ports())
    assert "No module named 'a_module_that_is_not_there'" in output
    assert output.endswith("The functions host did not start; its message is above.\n")


def setup_in(folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run local/setup.sh in a folder that holds nothing else."""
    script = folder / "local" / "setup.sh"
    script.parent.mkdir()
    script.write_bytes((PROJECT / "local" / "setup.sh").read_bytes())
    return subprocess.run(
        ["/bin/bash", str(script)],
        env={"PATH": os.defpath, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_missing_python_is_one_sentence(tmp_path: Path) -> None:
    result = setup_in(tmp_path, {"PYTHON": "/bin/false"})
    assert result.returncode == 1
    assert result.stderr == (
        "Python 3.13 is needed, and /bin/false is not it: install it, or name one with "
        "PYTHON=/path/to/python3.13 make run.\n"
    )


def test_a_second_set_up_does_nothing() -> None:
    result = subprocess.run(
        ["make", "setup"],  # noqa: S607 - the developer's make
        cwd=PROJECT,
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
