"""The pool as a service: https, what it logs, what it keeps, how it ends."""

import asyncio
import json
import logging
import os
import re
import resource
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local.serving import serve
from local.session_pool import PoolOptions, SessionLimits, SessionPoolError
from local.session_pool.__main__ import main
from local.tls import TlsFiles
from tests.local.session_pool.conftest import OpenPool
from tests.support.pool_client import AUDIENCE, NEWEST, PoolClient

on_the_shared_loop = pytest.mark.asyncio(loop_scope="session")


@on_the_shared_loop
async def test_https_is_trusted_through_the_bundle_and_by_nobody_else(
    shared_pool: PoolClient, tmp_path: Path
) -> None:
    tls = TlsFiles(tmp_path)
    async with serve(shared_pool.pool.app, tls_files=tls.server_files()) as base_url:
        assert base_url.startswith("https://")
        headers = {"authorization": f"Bearer {shared_pool.identity.mint(AUDIENCE)}"}
        url = f"{base_url}{shared_pool.pool.path}/metadata?api-version=2025-10-02-preview"
        trusting = ssl.create_default_context(cafile=str(tls.bundle))
        async with httpx2.AsyncClient(verify=trusting) as http:
            assert (await http.get(url, headers=headers)).status_code == 200
        async with httpx2.AsyncClient() as http:
            with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await http.get(url, headers=headers)


def test_certificates_are_made_once_and_the_key_is_private(tmp_path: Path) -> None:
    tls = TlsFiles(tmp_path)
    tls.server_files()
    first = tls.certificate.read_bytes()
    tls.server_files()
    assert tls.certificate.read_bytes() == first
    assert tls.key.stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "authority.pem",
        "server-key.pem",
        "server.pem",
        "trusted.pem",
    ]


@on_the_shared_loop
async def test_the_log_has_a_line_per_request_without_code_output_or_names(
    open_pool: OpenPool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="local.session_pool")
    async with open_pool(PoolOptions(log_requests=True, preload=())) as client:
        await client.result("print('SECRET-OUTPUT') # SECRET-CODE")
        await client.upload("SECRET-NAME.txt", b"SECRET-CONTENT")
        await client.request("GET", "files/SECRET-NAME.txt/content")
        await client.request("GET", "files/SECRET-missing")
    assert "SECRET" not in caplog.text
    assert client.identifier not in caplog.text
    lines = [json.loads(m) for m in caplog.messages if m.startswith("{")]
    assert [(line["operation"], line["status"]) for line in lines] == [
        (["executions"], 200),
        (["files"], 200),
        (["files"], 200),
        (["files"], 404),
    ]
    assert lines[0]["session_guid"]
    assert lines[3]["error_code"] == "FileNotFound"


@on_the_shared_loop
async def test_files_are_kept_on_request(open_pool: OpenPool, tmp_path: Path) -> None:
    async with open_pool(PoolOptions(keep_files=tmp_path, preload=())) as client:
        await client.upload("deleted.txt", b"one", path="sub")
        await client.request("DELETE", "session")
        other = client.of()
        await other.upload("stopped.txt", b"two")
    contents = {path.name: path.read_bytes() for path in texts_below(tmp_path)}
    assert contents == {"deleted.txt": b"one", "stopped.txt": b"two"}


@on_the_shared_loop
async def test_kept_files_have_their_holes_and_none_is_kept_in_part(
    open_pool: OpenPool, tmp_path: Path
) -> None:
    limits = SessionLimits(data_bytes=8 << 20)
    async with open_pool(PoolOptions(keep_files=tmp_path, preload=(), limits=limits)) as client:
        await client.result(
            "import os\n"
            "for n in range(40):\n    os.truncate(os.open(f'/mnt/data/{n}', 66), 8 << 20)\n"
            "with open('/mnt/data/end', 'wb') as file:\n"
            "    file.seek(4 << 20); file.write(b'end')\n"
            "os.symlink('/etc/passwd', '/mnt/data/link')\n"
            "os.mkdir('/mnt/data/closed'); open('/mnt/data/closed/in', 'w').close()\n"
            "os.chmod('/mnt/data/closed', 0)"
        )
    found = [path for path in below(tmp_path) if path.is_file()]
    sizes = {path.name: path.stat().st_size for path in found}
    assert sizes.pop("in") == 0
    assert sizes == {**{str(n): 8 << 20 for n in range(40)}, "end": (4 << 20) + 3}
    assert next(path for path in found if path.name == "end").read_bytes()[-4:] == b"\0end"
    assert sum(path.stat().st_blocks * 512 for path in found) < 1 << 20


@on_the_shared_loop
async def test_kept_files_are_bounded_in_number_and_the_rest_is_told(
    open_pool: OpenPool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pool(PoolOptions(keep_files=tmp_path, preload=())) as client:
        await client.result("for n in range(5100): open(f'/mnt/data/{n:04}', 'w').write('whole')")
        await client.request("DELETE", "session")
    found = [path for path in below(tmp_path) if path.is_file()]
    assert sorted(path.name for path in found) == [f"{n:04}" for n in range(5000)]
    assert {path.stat().st_size for path in found} == {5}
    assert "100 files, folders or links are left out" in caplog.text
    assert {path.parent for path in below(tmp_path)} == {tmp_path, found[0].parent}


def below(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


def texts_below(folder: Path) -> list[Path]:
    return list(folder.rglob("*.txt"))


PROGRAM = (
    "import pathlib, sys\nfrom local.session_pool import __main__ as command\n"
    "command.TLS_FOLDER = pathlib.Path(sys.argv.pop(1))\nsys.exit(command.main())"
)


@pytest.fixture
def command(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The command, with a folder of its own for certificates."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", PROGRAM, str(tmp_path)),
            *("--port", "0", "--identity-port", "0", "--host-name", "Pool.dynamicsessions.io"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    with process:
        yield process
        process.kill()


def test_the_command_says_what_clients_need_and_answers_what_runs_when_it_is_stopped(
    command: subprocess.Popen[str],
) -> None:
    assert command.stdout is not None
    output = ""
    while "Ctrl-C stops it." not in output:
        line = command.stdout.readline()
        assert line, output
        output += line
    assert "kernels: fork server" in output or "kernels: plain" in output
    assert "\n  127.0.0.1 pool.dynamicsessions.io\n" in output
    settings = dict(re.findall(r"([A-Z_]+)=(\S+)", output))
    answers = asyncio.run(stopped_while_40_run(command, settings))
    assert [(status, error["code"]) for status, error in answers] == [
        (503, "ServiceUnavailable")
    ] * 40
    rest = command.stdout.read()
    assert command.wait(10) == 0
    # Whatever is not a line of the log of requests: no traceback, and nothing else.
    assert [line for line in rest.splitlines() if not line.startswith("{")] == []


async def stopped_while_40_run(
    command: subprocess.Popen[str], settings: dict[str, str]
) -> list[tuple[int, Any]]:
    """Call the pool by its name, stop it, and return what the executions are answered."""
    endpoint = httpx2.URL(settings["POOL_MANAGEMENT_ENDPOINT"])
    assert endpoint.host == "pool.dynamicsessions.io"
    trusting = ssl.create_default_context(cafile=settings["SSL_CERT_FILE"])
    limits = httpx2.Limits(max_connections=50)
    async with httpx2.AsyncClient(verify=trusting, limits=limits, timeout=60) as http:
        answer = await http.get(
            settings["IDENTITY_ENDPOINT"],
            params={"api-version": "2019-08-01", "resource": AUDIENCE},
            headers={"x-identity-header": settings["IDENTITY_HEADER"]},
        )
        token = answer.json()["access_token"]

        async def call(method: str, path: str, **arguments: Any) -> httpx2.Response:
            return await http.request(
                method,
                # In place of the line in /etc/hosts.
                f"{endpoint.copy_with(host='127.0.0.1')}/{path}",
                headers={
                    "host": f"{endpoint.host}:{endpoint.port}",
                    "authorization": f"Bearer {token}",
                },
                extensions={"sni_hostname": endpoint.host},
                **arguments,
            )

        async def execute(number: int) -> tuple[int, Any]:
            query = {"api-version": NEWEST, "identifier": f"stopped-{number}"}
            body = {"code": "import time; time.sleep(60)"}
            response = await call("POST", "executions", params=query, json=body)
            return response.status_code, response.json()["error"]

        running = [asyncio.create_task(execute(number)) for number in range(40)]
        sessions = 0
        while sessions < 40:
            await asyncio.sleep(0.05)
            listed = await call("GET", "listSessions", params={"api-version": NEWEST})
            sessions = len(listed.json()["sessions"])
        command.send_signal(signal.SIGTERM)
        return await asyncio.gather(*running)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--cooldown", "10"], "Azure allows 300 to 3600"),
        (["--max-sessions", "0"], "Azure allows 1 to 600"),
        (["--port", "99999"], "is not a port"),
        *((["--host-name", name], "is not a host name") for name in ("", "a b", "x:1", "*.x", "ü")),
    ],
)
def test_a_bad_option_is_one_sentence(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


@on_the_shared_loop
async def test_a_pool_holds_as_many_sessions_as_it_may_open_files_for(
    open_pool: OpenPool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limit, raised = 175, []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, limit))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    before = len(os.listdir("/proc/self/fd"))
    async with open_pool(PoolOptions(preload=())) as client:
        monkeypatch.undo()
        clients = [client.of() for _ in range(3)]
        statuses = [
            (await each.request("POST", "executions", json={"code": "1"})).status_code
            for each in clients
        ]
        opened = len(os.listdir("/proc/self/fd")) - before
    assert raised == [(limit, limit)]
    assert "`ulimit -n`) is 175: 2 of 100 sessions can be alive" in caplog.text
    assert statuses == [200, 200, 429]
    assert opened < limit


@on_the_shared_loop
async def test_a_pool_that_may_open_too_few_files_for_a_session_does_not_start(
    open_pool: OpenPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (128, 128))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    with pytest.raises(SessionPoolError, match="ulimit -n"):
        async with open_pool(PoolOptions(preload=())):
            pass


@pytest.mark.parametrize("way", [[], ["--plain"]], ids=["fork server", "plain"])
def test_a_pool_with_fewer_open_files_than_a_session_may_have_works(way: list[str]) -> None:
    program = 'ulimit -n 256; exec "$@"'
    command = [sys.executable, "-m", "local.session_pool", "--port", "0", "--identity-port", "0"]
    with subprocess.Popen(
        ["/bin/sh", "-c", program, "-", *command, *way],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as process:
        try:
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(2)]
        finally:
            process.terminate()
    assert "is 256: 9 of 100 sessions can be alive at once" in said[0]
    assert "Session pool ready" in said[1]
