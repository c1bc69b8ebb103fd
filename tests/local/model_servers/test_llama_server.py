"""A GGUF file answers by llama-server: started, waited for, ended; what is missing is said."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx2
import pytest

from local.model_servers import ModelServerError
from local.model_servers.llama_server import llama_server
from tests.support.processes import wait_until

FAKE = Path(__file__).with_name("fake_llama_server.py")


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH on which there is a llama-server."""
    program = tmp_path / "bin" / "llama-server"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n')
    program.chmod(0o700)
    return f"{program.parent}:{os.defpath}"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "Small-1B.Q4.gguf"
    file.write_bytes(b"GGUF\x03\0\0\0")
    return file


async def props(url: str) -> Mapping[str, object]:
    async with httpx2.AsyncClient() as client:
        return dict((await client.get(url.replace("/v1", "/props"))).json())


def runs(pid: object) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().split()[2] != "Z"


async def test_it_serves_the_file_with_tools_and_bounds_and_ends(path: str, model: Path) -> None:
    said: list[str] = []
    async with llama_server(model, {"PATH": path}, said.append) as url:
        started = await props(url)
    assert started["bounds"] == {"LLAMA_ARG_CTX_SIZE": "16384", "LLAMA_ARG_N_PREDICT": "4096"}
    arguments = started["arguments"]
    assert isinstance(arguments, list)
    assert arguments[:4] == ["--model", str(model), "--alias", "Small-1B.Q4"]
    assert arguments[4:6] == ["--host", "127.0.0.1"]
    assert arguments[-1] == "--jinja"
    assert said == ["llama-server loads Small-1B.Q4.gguf …"]
    assert not runs(started["pid"])


async def test_a_developers_own_bounds_come_first_and_one_that_does_not_end_is_killed(
    path: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.model_servers.llama_server._STOP_TIMEOUT_S", 0.05)
    environment = {"PATH": path, "LLAMA_ARG_CTX_SIZE": "2048", "MODE": "stubborn"}
    async with llama_server(model, environment, print) as url:
        started = await props(url)
        assert runs(started["pid"])
    assert started["bounds"] == {"LLAMA_ARG_CTX_SIZE": "2048", "LLAMA_ARG_N_PREDICT": "4096"}
    assert not runs(started["pid"])


async def test_its_last_words_are_shown_when_it_ends_in_the_middle(path: str, model: Path) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    async with llama_server(model, {"PATH": path}, said.put_nowait) as url:
        async with httpx2.AsyncClient() as client:
            with pytest.raises(httpx2.HTTPError):
                await client.get(url.replace("/v1", "/die"))
        async with asyncio.timeout(60):
            loads, ended = await said.get(), await said.get()
    assert loads.startswith("llama-server loads")
    assert ended == "llama-server ended with exit code 3. It said last:\n  last words"


MISSING = {
    "no file": ("/no/model.gguf", {}, ["LOCAL_MODEL: /no/model.gguf: No such file or directory."]),
    "a folder": ("/", {}, ["LOCAL_MODEL: /: Is a directory."]),
    "another format": (
        str(FAKE),
        {},
        ['fake_llama_server.py is no GGUF file (it begins with b\'"""A\')'],
    ),
    "an empty file": ("/dev/null", {}, ["/dev/null is no GGUF file (it begins with b'')"]),
    "no program": (
        "",
        {"PATH": "/nowhere"},
        ["Small-1B.Q4.gguf needs llama-server, which is not on PATH.", "brew install llama.cpp"],
    ),
    "no PATH": ("", {"PATH": ""}, ["which is not on PATH."]),
    "it dies": (
        "",
        {"MODE": "dies"},
        ["llama-server ended. It said last:\n  line 89\n", "  error loading model: unknown arch"],
    ),
}


@pytest.mark.parametrize(("file", "environment", "parts"), MISSING.values(), ids=MISSING.keys())
async def test_what_is_missing_is_said(
    file: str, environment: dict[str, str], parts: list[str], path: str, model: Path
) -> None:
    with pytest.raises(ModelServerError) as raised:
        async with llama_server(Path(file or model), {"PATH": path, **environment}, print):
            pytest.fail("there is no model")
    assert [part for part in parts if part not in str(raised.value)] == [], str(raised.value)


async def test_it_ends_with_a_parent_that_is_killed(path: str, model: Path) -> None:
    """The kernel ends it, by what `local.processes` asked for before the program began."""
    script = (
        "import asyncio, sys; from pathlib import Path\n"
        "from local.model_servers.llama_server import llama_server\n"
        "async def main():\n"
        f"    async with llama_server(Path({str(model)!r}), {{'PATH': {path!r}}}, print) as url:\n"
        "        print(url, flush=True); await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    await parent.stdout.readline()
    started = await props((await parent.stdout.readline()).decode().strip())
    assert runs(started["pid"])
    parent.kill()
    await parent.wait()
    await asyncio.to_thread(wait_until, lambda: not runs(started["pid"]))
