"""The commands a developer types, as processes: `make run`, `python -m local`, and set-up."""

import contextlib
import ctypes
import json
import logging
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

import httpx2
import pytest

from local import __main__ as local_program
from local import defaults
from local.__main__ import main as local_main
from local.functions_host.__main__ import main as host_main
from local.session_pool.__main__ import main as pool_main
from tests.support import PROJECT
from tests.support.processes import read_process

_PR_SET_CHILD_SUBREAPER = 36
README_EXAMPLE = re.findall(
    r"What `make run` prints.*?```text\n(.*?)```", (PROJECT / "README.md").read_text(), re.S
)[0]

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

    def wait_for(self, text: str, timeout_s: float = 120) -> None:
        with self._changed:
            self._changed.wait_for(lambda: text in self.output or self.ended, timeout_s)
            assert text in self.output, self.output


@contextlib.contextmanager
def command(*arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Command]:
    program = [sys.executable, "-m", "local", *arguments]
    with read_process(program, environment or {}, Command) as started:
        yield started


FREE_STACK_PORTS = ("--openai-port=0", "--pool-port=0", "--identity-port=0")


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
        assert run.output.startswith(f"http://localhost:{port}/api/ui\n")
        assert_in_order(README_EXAMPLE, run.output)
        # The line it prints to go on with works as it is printed.
        line = re.search(r"curl (\S+) -H '(\S+): (\S+)' -d '(.*)'", run.output)
        assert line is not None
        url, name, value, body = line.groups()
        answer = httpx2.post(url, headers={name: value}, content=body, timeout=60)
        assert answer.status_code == 200
        assert "1267650600228229401496703205376" in answer.json()["output"]
        run.process.send_signal(signal.SIGINT)
        assert run.process.wait(60) == 0
    assert "Traceback" not in run.output
    assert orphans() == []


def test_run_serves_people_who_sign_in_and_says_how_a_script_does() -> None:
    [port] = free_ports(1)
    with command("run", "--sign-in", f"--port={port}", *stack_ports()) as run:
        run.wait_for("Ctrl-C stops all.")
        assert re.search(r"Answer \(\d+\.\d s\): .*20\d\d", run.output)
        assert "Anyone on this machine may call" not in run.output
        url = f"http://localhost:{port}/api"
        assert httpx2.get(f"{url}/chat?input=Hello").status_code == 401
        assert "data-sign-in" in httpx2.get(f"{url}/ui").text
        script = run.output.split("Go on:")[1].split("Ctrl-C")[0]
        done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
        assert "1267650600228229401496703205376" in done.stdout


@pytest.mark.parametrize(("setting", "given"), [("1", True), ("0", False), ("", False)])
def test_make_run_takes_sign_in(setting: str, given: bool) -> None:
    command_line = ["make", "-n", "run", f"SIGN_IN={setting}"]
    shown = subprocess.run(command_line, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert ("local run --sign-in" in shown.stdout) is given


@pytest.mark.parametrize(
    ("value", "given"),
    [("ollama", "--model 'ollama'"), ("~/a b.gguf", "--model '~/a b.gguf'"), ("", "")],
)
def test_make_run_takes_a_real_model(value: str, given: str) -> None:
    command_line = ["make", "-n", "run", f"LOCAL_MODEL={value}"]
    shown = subprocess.run(command_line, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert given in shown.stdout
    assert ("--model" in shown.stdout) is bool(given)


def assert_in_order(example: str, output: str) -> None:
    """Each line of the example is in the output, after the one before; numbers and dates differ."""

    def shapes(text: str) -> list[str]:
        dates = r"[A-Z][a-z]+day, \d\d [A-Z][a-z]+ \d{4}, [\d:]{8} UTC"
        return [re.sub(r"\d+", "0", re.sub(dates, "DATE", line)) for line in text.splitlines()]

    rest = iter(shapes(output))
    assert [line for line in shapes(example) if line not in rest] == []


def test_an_example_that_was_not_printed_is_noticed() -> None:
    assert_in_order("a 1\nc 2", "a 7\nb\nc 20\n")
    with pytest.raises(AssertionError, match="d 0"):
        assert_in_order("a 1\nd 2", "a 1\nb\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_run_leaves_no_process_however_it_ends(number: int, orphans: Orphans) -> None:
    with command("run", "--port=0", *FREE_STACK_PORTS) as run:
        run.wait_for("Ready in")
        run.process.send_signal(number)
        run.process.wait(60)
        wait_until(lambda: not orphans(), orphans)


def wait_until(holds: Callable[[], bool], what: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline_s, what()
        time.sleep(0.02)


def test_run_enforces_a_function_key_that_is_set() -> None:
    environment = {"LOCAL_FUNCTION_KEY": "a-key"}
    with command("run", "--port=0", *FREE_STACK_PORTS, environment=environment) as run:
        run.wait_for("Ctrl-C stops all.")
        port = found(r"curl http://localhost:(\d+)/", run.output)
        assert "-H 'x-functions-key: a-key'" in run.output
        assert httpx2.get(f"http://127.0.0.1:{port}/api/chat?input=hello").status_code == 401


def test_the_local_azure_alone_prints_settings_that_work(orphans: Orphans) -> None:
    with command(*FREE_STACK_PORTS) as azure:
        azure.wait_for("Ctrl-C stops it.")
        settings = dict(re.findall(r"export (\w+)=(\S+)", azure.output))
        answer = httpx2.get(
            settings["IDENTITY_ENDPOINT"],
            params={"api-version": "2019-08-01", "resource": "https://dynamicsessions.io"},
            headers={"x-identity-header": settings["IDENTITY_HEADER"]},
        )
        assert answer.status_code == 200
        assert {"AZURE_OPENAI_ENDPOINT", "POOL_MANAGEMENT_ENDPOINT"} <= settings.keys()
        azure.process.send_signal(signal.SIGINT)
        assert azure.process.wait(60) == 0
    assert orphans() == []


def test_sessions_alone_start_no_model() -> None:
    """Wherever its options stand: before the command are those that all commands have."""
    port = free_ports(1)[0]
    with command(f"--identity-port={port}", "--pool-port", "0", "sessions", "--plain") as sessions:
        sessions.wait_for("Ctrl-C stops it.")
        assert found(r"IDENTITY_ENDPOINT=http://127.0.0.1:(\d+)/", sessions.output) == str(port)
        assert found(r"POOL_MANAGEMENT_ENDPOINT=http://127.0.0.1:(\d+)/", sessions.output) not in {
            "0",
            str(defaults.SESSION_POOL_PORT),
        }
        assert "AZURE_OPENAI" not in sessions.output


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]


@pytest.fixture
def refusal_here(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Refusal]:
    """The same in this process: a process of its own takes most of a second to import it all."""
    logger = logging.getLogger("local")
    handlers, level = [*logger.handlers], logger.level

    def run(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
        monkeypatch.setattr(local_program, "_environment", environment or {})
        assert local_main(list(arguments)) == 1
        return "".join(capsys.readouterr())

    yield run
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_options_before_a_command_hold(refusal_here: Refusal) -> None:
    """A port in use shows which one the command really takes."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for option in FREE_STACK_PORTS:
            before = [f"{option.removesuffix('0')}{port}", *set(FREE_STACK_PORTS) - {option}]
            assert refusal_here(*before, "run", "--port=0").startswith(f"port {port} is in use")


MAINS = {"local": local_main, "pool": pool_main, "host": host_main}


@pytest.mark.parametrize(
    ("program", "arguments", "sentence"),
    [
        ("local", "--port 8000 run", "--port is an option of a command: write it after"),
        ("local", "--strict sessions", "--strict is an option of a command: write it after"),
        ("local", "--app=. run", "--app is an option of a command: write it after"),
        ("local", "--openai-port 5 sessions", "--openai-port: `sessions` starts no Azure OpenAI"),
        ("local", "--model ollama sessions", "--model: `sessions` starts no Azure OpenAI"),
        ("local", "--pool-port abc", "--pool-port: 'abc' is not a whole number"),
        ("local", "--pool-port -1 run", "--pool-port: '-1' is not a whole number"),
        ("local", "--pool-port=-1 run", "--pool-port: '-1' is not a whole number"),
        ("local", "run --port=65536", "--port: '65536' is not a port: 1 to 65535, or 0"),
        ("local", "run --pool-p=0", "unrecognized arguments: --pool-p=0"),
        ("local", "run --strict", "unrecognized arguments: --strict"),
        ("local", "run --app=/no/folder", "--app: '/no/folder' is not a folder"),
        ("local", "serve", "argument COMMAND: invalid choice: 'serve'"),
        ("local", "sessions --cooldown=5", "Azure allows 300 to 3600 seconds"),
        ("local", "sessions --max-sessions=0", "Azure allows 1 to 600 sessions"),
        ("pool", "--max-sessions=601", "Azure allows 1 to 600 sessions"),
        ("pool", "--cooldown=1h", "--cooldown: '1h' is not a whole number"),
        ("pool", "--requirements=/no/file", "--requirements: '/no/file' is not a file"),
        ("pool", "--pool=0", "unrecognized arguments: --pool=0"),
        ("pool", "prepares", "invalid choice: 'prepares'"),
        ("host", "--port=70000", "--port: '70000' is not a port: 1 to 65535, or 0"),
        ("host", "--grace=-1", "--grace: '-1' is not a whole number"),
        ("host", "--po=1", "unrecognized arguments: --po=1"),
        ("host", "/no/folder", "argument app_dir: '/no/folder' is not a folder"),
    ],
)
def test_a_bad_command_line_is_refused_with_a_sentence(
    program: str, arguments: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        MAINS[program](arguments.split())
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("program", "arguments"),
    [("local", []), ("local", ["run"]), ("local", ["sessions"]), ("pool", []), ("host", [])],
)
def test_help_names_the_options(
    program: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        MAINS[program]([*arguments, "--help"])
    assert ended.value.code == 0
    assert "port" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["run"]])
def test_a_port_in_use_is_one_sentence(arguments: list[str], refusal_here: Refusal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        output = refusal_here(*arguments, *stack_ports()[:2], f"--identity-port={port}")
    assert output == f"port {port} is in use: stop what listens there or choose another port\n"


def test_a_functions_port_in_use_is_found_before_anything_starts(refusal: Refusal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        output = refusal("run", f"--port={port}", *stack_ports())
    assert output == f"port {port} is in use: stop what listens there or choose another port\n"


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"LOCAL_MODEL": "ftp://model"}, "LOCAL_MODEL must be one of ollama, llama.cpp"),
        ({"LOCAL_MODEL": "http://127.0.0.1:1/v1"}, "No list of models at http://127.0.0.1:1/v1"),
        ({"LOCAL_MODEL": "no.gguf"}, f"LOCAL_MODEL: {PROJECT}/no.gguf: No such file"),
    ],
)
def test_a_model_that_is_named_badly_is_refused(
    environment: Mapping[str, str], sentence: str, refusal_here: Refusal
) -> None:
    output = refusal_here("run", *FREE_STACK_PORTS, environment=environment)
    assert output.startswith(sentence)
    assert output.count("\n") == 1


def test_a_model_server_that_is_down_is_named_and_the_run_goes_on(orphans: Orphans) -> None:
    environment = {
        "LOCAL_MODEL": f"http://127.0.0.1:{free_ports(1)[0]}/v1",
        "LOCAL_MODEL_NAME": "any",
    }
    with command("run", "--port=0", *FREE_STACK_PORTS, environment=environment) as run:
        run.wait_for("Ctrl-C stops all.")
        assert "The question was not answered (502): " in run.output
        # The relay's sentence, whole.
        assert f"server at {environment['LOCAL_MODEL']}/chat/completions does not" in run.output
        assert "Start it, or correct LOCAL_MODEL." in run.output
        assert run.process.poll() is None
        run.process.send_signal(signal.SIGINT)
        assert run.process.wait(60) == 0
    assert orphans() == []


def test_an_app_that_cannot_be_indexed_ends_the_run(tmp_path: Path, refusal: Refusal) -> None:
    (tmp_path / "host.json").write_text(json.dumps({"version": "2.0"}))
    (tmp_path / "function_app.py").write_text("import a_module_that_is_not_there\n")
    output = refusal("run", f"--app={tmp_path}", "--port=0", *FREE_STACK_PORTS)
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
        ["make", "setup"],  # noqa: S607 - as README has developers call it, by the system's own path
        cwd=PROJECT,
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
