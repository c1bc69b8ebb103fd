"""The official AG-UI client, installed from npm once and run by node."""

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.support.installation import node_program, npm_packages


def install() -> Path:
    """Install the client unless that was done; the value is the script that runs it."""
    files = ["package.json", "package-lock.json", "run.mjs"]
    return npm_packages("agui-client", Path(__file__).parent, files) / "run.mjs"


async def run_client(script: Path, **options: object) -> dict[str, Any]:
    """Let the client run; run.mjs describes `options` and the report."""
    report: dict[str, Any] = json.loads(await run_node(script, json.dumps(options)))
    return report


async def run_node(script: Path, stdin: str = "") -> str:
    """Run a script that lies beside the installed client; the value is what it prints."""
    process = await asyncio.create_subprocess_exec(
        node_program("node"),
        script,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await process.communicate(stdin.encode())
    assert process.returncode == 0, stderr.decode()
    return stdout.decode()
