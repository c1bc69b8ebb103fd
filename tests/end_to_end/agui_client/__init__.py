"""The official AG-UI client, installed from npm once and run by node."""

import asyncio
import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
INSTALLED = HERE.parents[2] / ".local" / "agui-client"
SOURCES = ("package.json", "package-lock.json", "run.mjs")


def install() -> Path:
    """Install what package-lock.json names, unless that was done; the value is the script."""
    stamp = INSTALLED / "installed"
    wanted = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in SOURCES)).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        npm = _program("npm")
        INSTALLED.mkdir(parents=True, exist_ok=True)
        for name in SOURCES:
            shutil.copy(HERE / name, INSTALLED)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        finished = subprocess.run(
            command, cwd=INSTALLED, capture_output=True, text=True, check=False
        )
        if finished.returncode:
            pytest.fail(f"npm could not install the AG-UI client: {finished.stderr}")
        stamp.write_text(wanted)
    return INSTALLED / "run.mjs"


async def run_client(script: Path, **given: object) -> dict[str, Any]:
    """Let the client run; what `given` may be, and the report, is said in run.mjs."""
    report: dict[str, Any] = json.loads(await run_node(script, json.dumps(given)))
    return report


async def run_node(script: Path, stdin: str = "") -> str:
    """Run a script that lies beside the installed client; the value is what it prints."""
    process = await asyncio.create_subprocess_exec(
        _program("node"),
        script,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await process.communicate(stdin.encode())
    assert process.returncode == 0, stderr.decode()
    return stdout.decode()


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.fail(
            f"`{name}` is missing: the AG-UI client is a Node.js package."
            " Install Node.js 20 or later, for example with `apt-get install nodejs npm`."
        )
    return path
