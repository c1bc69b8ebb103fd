"""The pool as a service: https, what it logs, what it keeps, how it ends."""

import json
import logging
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from local.serving import serve
from local.session_pool import PoolOptions, SessionLimits
from local.tls import TlsFiles
from tests.local.session_pool.conftest import OpenPool
from tests.support.pool_client import AUDIENCE, PoolClient

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


def below(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


def texts_below(folder: Path) -> list[Path]:
    return list(folder.rglob("*.txt"))


@pytest.fixture
def command() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "local", "sessions", "--tls"),
            *("--port", "0", "--identity-port", "0", "--max-sessions", "3"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    with process:
        yield process
        process.kill()


def test_the_command_says_what_clients_need_and_stops_clean(
    command: subprocess.Popen[str],
) -> None:
    assert command.stdout is not None
    output = ""
    while "Ctrl-C stops it." not in output:
        line = command.stdout.readline()
        assert line, output
        output += line
    assert "kernels: fork server" in output or "kernels: plain" in output
    assert re.search(r"POOL_MANAGEMENT_ENDPOINT=https://127\.0\.0\.1:\d+/subscriptions/", output)
    assert re.search(r"SSL_CERT_FILE=\S+trusted\.pem", output)
    command.send_signal(signal.SIGINT)
    assert command.wait(10) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--cooldown", "10"], "Azure allows 300 to 3600"),
        (["--max-sessions", "0"], "Azure allows 1 to 600"),
        (["--port", "99999"], "is not a port"),
    ],
)
def test_a_bad_option_is_one_sentence(arguments: list[str], says: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "local.session_pool", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert says in result.stderr.splitlines()[-1]
