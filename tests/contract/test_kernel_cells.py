"""The session pool's kernel against a real ipykernel with the same packages, cell by cell."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local.managed_identity import ManagedIdentity
from local.serving import serve
from local.session_pool import PoolOptions, SessionPool
from local.session_pool.image import prepare_session_image
from tests.contract.kernel_cells import CELLS
from tests.support.installation import python_packages

PROJECT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).with_name("ipykernel.txt")
DRIVER = Path(__file__).with_name("drivers") / "ipykernel_cells.py"
DOCUMENTED = (PROJECT / "docs" / "session-pool.md").read_text()
AUDIENCE = "https://dynamicsessions.io"

# Cells that differ, and the words with which docs/session-pool.md says how.
DIFFERENT = {
    "a raise from": "the line of the cause",
    "a raise within": "the line of the cause",
    "an exception whose text fails": "an exception whose `str()` fails",
    "a recursion": "frames that repeat",
    "a recursion of two": "frames that repeat",
    "input": "frames of the kernel itself",
    "a shell command": "a command has no terminal",
    "a command with a variable": "a command has no terminal",
    "a command that is missing": "a command has no terminal",
    "help": "the pager",
    "a PIL image": "one picture in several formats",
}


@pytest.mark.asyncio(loop_scope="session")
async def test_every_cell_shows_what_ipykernel_shows(tmp_path: Path) -> None:
    ipykernel = asyncio.to_thread(of_ipykernel, tmp_path)
    theirs, ours = await asyncio.gather(ipykernel, of_the_pool())
    different = {
        name: (real, answered)
        for name, real, answered in zip(CELLS, theirs, ours, strict=True)
        if real != answered
    }
    unexpected = {name: pair for name, pair in different.items() if name not in DIFFERENT}
    assert sorted(unexpected) == [], json.dumps(unexpected, indent=1)
    assert set(different) == set(DIFFERENT)


@pytest.mark.parametrize("words", sorted(set(DIFFERENT.values())))
def test_each_difference_is_documented(words: str) -> None:
    assert words in DOCUMENTED


def of_ipykernel(folder: Path) -> list[Any]:
    """Run the cells in an ipykernel of its own environment."""
    image = prepare_session_image()
    packages = python_packages("ipykernel", REQUIREMENTS)
    shutil.copytree(image / "matplotlib", folder / "matplotlib")
    environment = {
        "PATH": f"{image / 'bin'}:{sys.base_prefix}/bin:{os.defpath}",
        "PYTHONPATH": f"{image / 'packages'}:{packages}",
        "HOME": str(folder),
        "IPYTHONDIR": str(folder / "ipython"),
        "MPLCONFIGDIR": str(folder / "matplotlib"),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
    }
    process = subprocess.run(
        [f"{sys.base_prefix}/bin/python3.13", str(DRIVER)],
        input=json.dumps([*CELLS.values()]),
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    places = {
        str(image / "packages"): "/opt/session/packages",
        str(packages): "/opt/session/packages",
    }
    # A session shows the machine's own Python where it is.
    if Path(sys.base_prefix).resolve() != Path("/usr"):
        places[sys.base_prefix] = "/opt/session/python"
    return [brief(outputs, places) for outputs in json.loads(process.stdout.splitlines()[-1])]


async def of_the_pool() -> list[Any]:
    """Run the cells in one session of the pool."""
    identity = ManagedIdentity()
    answers = []
    async with (
        SessionPool(identity.verifier(AUDIENCE), PoolOptions()) as pool,
        serve(pool.app) as url,
        httpx2.AsyncClient(base_url=url, timeout=60) as http,
    ):
        for code in CELLS.values():
            response = await http.post(
                f"{pool.path}/executions",
                params={"api-version": "2025-10-02-preview", "identifier": "cells"},
                headers={"authorization": f"Bearer {identity.mint(AUDIENCE)}"},
                json={
                    "code": code,
                    "outputStreamsMaxLength": 100_000,
                    "returnJupyterFormatExecutionResult": True,
                },
            )
            assert response.status_code == 200, response.text
            answers.append(brief(response.json()["result"]["executionResult"], {}))
    return answers


def brief(outputs: list[dict[str, Any]], places: dict[str, str]) -> list[Any]:
    """What matters of a cell's outputs: all but addresses, names of cells, and spare context."""

    def plain(text: str) -> str:
        for place, name in places.items():
            text = text.replace(place, name)
        text = re.sub(r"/\w+/ipykernel_\d+/\d+\.py|<ipython-input-\d+-\w+>", "CELL", text)
        text = re.sub(r"\(\d+\.py, line", "(CELL, line", text)
        return re.sub(r"0x[0-9a-f]{8,}", "ADDRESS", text)

    found: list[Any] = []
    for output in outputs:
        match output["output_type"]:
            case "stream":
                # What is written to both at once comes in no certain order.
                streams = [one for one in found[-2:] if one[0] in ("stdout", "stderr")]
                same = [one for one in streams if one[0] == output["name"]]
                if same:
                    same[0][1] += plain(output["text"])
                else:
                    found.append([output["name"], plain(output["text"])])
                if len(found) > 1 and (found[-2][0], found[-1][0]) == ("stderr", "stdout"):
                    found[-2:] = [found[-1], found[-2]]
            case "error":
                traceback = plain("\n".join(output["traceback"]))
                found.append(
                    ["error", output["ename"], plain(output["evalue"]), essence(traceback)]
                )
            case kind:
                data = {
                    media: plain(part.strip()) if isinstance(part, str) else part
                    for media, part in output["data"].items()
                }
                found.append([kind, data, output["metadata"]])
    return found


def essence(traceback: str) -> list[str]:
    """The lines of a traceback that say something; around the line that failed any may be shown."""
    return [
        re.sub(r"^(-+> \d+)\s+", r"\1 ", line)
        for line in traceback.split("\n")
        if line.strip() and not re.match(r"^ +\d+( |$)", line)
    ]
