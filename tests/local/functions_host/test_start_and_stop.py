"""How the functions host starts, what it says when it cannot, and how it ends."""

import contextlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.local.functions_host.apps import copy_app
from tests.support import PROJECT
from tests.support.functions_host import host_process
from tests.support.processes import wait_until


def test_the_start_prints_the_routes_as_core_tools_does(tmp_path: Path) -> None:
    with host_process(copy_app("with_timer", tmp_path)) as host:
        host.wait_until_ready()
        assert f"Functions:\n\n\tnow: [GET] {host.url}/api/now\n\n" in host.output
        wait_until(lambda: "no function key is set" in host.output)
        assert "every_five_minutes is not served here: it is bound to timertrigger" in host.output


def test_the_route_prefix_of_host_json_is_used(tmp_path: Path) -> None:
    host_json = {"version": "2.0", "extensions": {"http": {"routePrefix": ""}}}
    with host_process(copy_app("with_timer", tmp_path, host_json=host_json)) as host:
        host.wait_until_ready()
        assert httpx2.get(f"{host.url}/now").json() == "now"


def refusal(app_dir: Path, *arguments: str) -> str:
    """Start a host that must not start; returns what it says."""
    with host_process(app_dir, *arguments) as host:
        assert host.process.wait(30) == 1
    return host.output


def test_an_app_that_fails_shows_its_own_line_first(tmp_path: Path) -> None:
    app_dir = copy_app("broken_import", tmp_path)
    first, _, second, third, *_, last = refusal(app_dir).splitlines()
    assert first == "The function app cannot be served: function_app.py failed."
    assert second == f'  File "{app_dir}/function_app.py", line 5, in <module>'
    assert third.strip() == """LIMITS = json.loads("{'not': 'json'}")"""
    assert last.startswith("json.decoder.JSONDecodeError: ")


def test_an_app_that_mixes_request_types_is_refused_by_the_worker(tmp_path: Path) -> None:
    assert "cannot load the buffers function" in refusal(copy_app("mixed", tmp_path))


def test_an_app_without_the_extension_is_refused(tmp_path: Path) -> None:
    output = refusal(copy_app("without_extension", tmp_path))
    assert "does not import azurefunctions.extensions.http.fastapi" in output


def test_a_folder_that_is_no_app_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == (
        f"The function app cannot be served: there is no host.json in {tmp_path}\n"
    )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"IsEncrypted": True, "Values": {}}, "local.settings.json is encrypted"),
        ({"Values": {"NAME": {"nested": 1}}}, "local.settings.json: Values.NAME:"),
        (["no", "object"], "local.settings.json: "),
    ],
)
def test_settings_that_cannot_be_read_are_named(
    tmp_path: Path, settings: object, reason: str
) -> None:
    assert reason in refusal(copy_app("with_timer", tmp_path, settings))


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        output = refusal(copy_app("with_timer", tmp_path), "--port", str(port))
    assert output == (
        f"The function app cannot be served: port {port} is in use: "
        "stop what listens there or choose another port\n"
    )


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_host_in_good_order(tmp_path: Path, signal_number: int) -> None:
    with host_process(copy_app("with_timer", tmp_path)) as host:
        host.wait_until_ready()
        assert host.stop(signal_number) == 0
    assert "Traceback" not in host.output


def test_a_running_request_is_answered_before_the_host_ends(tmp_path: Path) -> None:
    with host_process(copy_app("sample", tmp_path)) as host:
        host.wait_until_ready()
        with httpx2.stream("GET", f"{host.url}/api/events") as answer:
            lines = answer.iter_lines()
            assert next(lines) == "first"

            def stops_meanwhile() -> Iterator[bytes]:
                yield b"this request has begun"
                host.process.send_signal(signal.SIGTERM)
                yield b"when the host is told to end"

            httpx2.post(f"{host.url}/api/release", content=stops_meanwhile())
            assert next(lines) == "second"
        assert host.process.wait(30) == 0


def test_a_function_that_blocks_its_thread_does_not_keep_the_host(tmp_path: Path) -> None:
    with host_process(copy_app("sample", tmp_path), "--grace", "1") as host:
        host.wait_until_ready()
        url = f"{host.url}/api/blocking?seconds=60"
        caller = threading.Thread(target=_call_until_cut, args=[url])
        caller.start()
        wait_until(lambda: httpx2.get(f"{host.url}/api/blocked").json() == 1)
        assert host.stop() == 0
        caller.join()


def _call_until_cut(url: str) -> None:
    with contextlib.suppress(httpx2.TransportError):
        assert httpx2.get(url, timeout=60).status_code == 500


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")
def test_a_host_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    app_dir = copy_app("with_timer", tmp_path)
    command = [sys.executable, "-m", "local.functions_host", str(app_dir)]
    command += ["--port", "0", "--stop-with-parent"]
    script = f"import subprocess; subprocess.run({command!r})"
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        lines = iter(parent.stdout.readline, "")
        assert any("/api/now" in line for line in lines)
        parent.kill()
        # The pipe ends when the host, which inherited it, has ended too.
        assert "".join(lines).count("Traceback") == 0
