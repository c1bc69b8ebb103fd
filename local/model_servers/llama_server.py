"""A GGUF file answers: llama-server is started for it, and ends with us."""

import asyncio
import contextlib
import shutil
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Final

import httpx2

from local.model_servers.errors import ModelServerError
from local.processes import end
from local.serving import free_port

_MAGIC: Final = b"GGUF"  # https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
_GET: Final = (
    "Get it with `brew install llama.cpp`, or from https://github.com/ggml-org/llama.cpp/releases."
)
# What one conversation may have, and the longest answer: without them a small model takes the
# memory of its whole training context, and may repeat itself without end. llama-server's own
# variables, so that a developer's come before ours.
_BOUNDS: Final = {"LLAMA_ARG_CTX_SIZE": "16384", "LLAMA_ARG_N_PREDICT": "4096"}
# A large model comes from a slow disk.
_LOAD_TIMEOUT_S: Final = 600
_STOP_TIMEOUT_S: Final = 5
_LAST_LINES: Final = 12


@contextlib.asynccontextmanager
async def llama_server(
    file: Path, environment: Mapping[str, str], say: Callable[[str], None]
) -> AsyncIterator[str]:
    """Serve a model from its file while the block runs; the value is its base URL.

    Args:
        file: the model, as GGUF; an absolute path.
        environment: of llama-server, which is found on its PATH; LLAMA_ARG_… change how it runs.
        say: tells the developer what happens meanwhile.

    Raises:
        ModelServerError: the file or the program is missing, or the program ended.
    """
    _check_file(file)
    program = shutil.which("llama-server", path=environment.get("PATH", ""))
    if program is None:
        raise ModelServerError(f"{file.name} needs llama-server, which is not on PATH. {_GET}")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = await asyncio.create_subprocess_exec(
        # However this process ends, the kernel ends that one too.
        *(sys.executable, "-m", "local.processes", program),
        *("--model", str(file), "--alias", file.stem),
        # The model's own template, by which it learns of tools.
        *("--host", "127.0.0.1", "--port", str(port), "--parallel", "1", "--jinja"),
        env={**_BOUNDS, **environment},
        cwd=Path(__file__).parents[2],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    lines: deque[str] = deque(maxlen=_LAST_LINES)
    watching = asyncio.create_task(_read(process, lines))
    say(f"llama-server loads {file.name} …")
    try:
        await _until_healthy(url, watching, lines)
        watching.add_done_callback(
            lambda task: None if task.cancelled() else say(_ended(process, lines))
        )
        yield f"{url}/v1"
    finally:
        watching.cancel()
        await end(process, _STOP_TIMEOUT_S)


def _check_file(file: Path) -> None:
    try:
        with file.open("rb") as opened:
            magic = opened.read(len(_MAGIC))
    except OSError as error:
        raise ModelServerError(f"LOCAL_MODEL: {file}: {error.strerror}.") from error
    if magic != _MAGIC:
        raise ModelServerError(
            f"LOCAL_MODEL: {file} is no GGUF file (it begins with {magic!r}): take a model in the"
            " format of llama.cpp."
        )


async def _read(process: asyncio.subprocess.Process, lines: deque[str]) -> None:
    """Keep the last lines until the process ends."""
    if process.stdout is None:
        raise TypeError("its output is a pipe")
    rest = b""
    while piece := await process.stdout.read(65536):
        *whole, rest = (rest + piece).split(b"\n")
        lines.extend(line.decode(errors="replace").rstrip()[:400] for line in whole)
        rest = rest[-4000:]
    if rest:
        lines.append(rest.decode(errors="replace")[:400])
    await process.wait()


async def _until_healthy(url: str, watching: asyncio.Task[None], lines: deque[str]) -> None:
    async with httpx2.AsyncClient(timeout=5, trust_env=False, verify=False) as client:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOAD_TIMEOUT_S):
                while not watching.done():
                    with contextlib.suppress(httpx2.HTTPError):
                        # While the model loads: 503.
                        if (await client.get(f"{url}/health")).status_code == 200:
                            return
                    await asyncio.wait({watching}, timeout=0.1)
    what = "ended" if watching.done() else f"did not load its model in {_LOAD_TIMEOUT_S} s"
    raise ModelServerError(f"llama-server {what}. {_last(lines)}")


def _ended(process: asyncio.subprocess.Process, lines: deque[str]) -> str:
    return f"llama-server ended with exit code {process.returncode}. {_last(lines)}"


def _last(lines: deque[str]) -> str:
    said = [f"  {line}" for line in lines if line]
    return "\n".join(["It said last:", *said]) if said else "It said nothing."
