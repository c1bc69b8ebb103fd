"""`make run`: the local Azure and the functions host, and one question through both."""

import asyncio
import contextlib
import dataclasses
import http.client
import json
import sys
import textwrap
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from local import defaults
from local.processes import end
from local.serving import free_port, refuse_ports_in_use
from local.stack import LocalStack

PROJECT: Final = Path(__file__).parents[1]
# What Azure keeps in the function app's storage account.
CONVERSATIONS: Final = PROJECT / ".local" / "conversations"
QUESTION: Final = "What is the current date and time?"
_ANSWER_TIMEOUT_S: Final = 240
# What running requests get when all is stopped; the host's threads get two seconds more.
_GRACE_S: Final = 2
_STOP_TIMEOUT_S: Final = 8


class RunError(Exception):
    """Something did not start or did not answer; the message says what to do."""


class _NotAnswered(Exception):
    """The question has no answer; the message says why."""


@dataclass(frozen=True)
class FunctionsHostOptions:
    """Options to start the functions host, and the way to call it.

    Attributes:
        app_dir: the folder with function_app.py.
        port: where it listens on localhost; 0 takes a free one.
        environment: what its process gets beside the app settings.
        token: signs this program in, where callers must; empty: nobody signs in.
    """

    app_dir: Path
    port: int
    environment: Mapping[str, str]
    token: str = ""

    @property
    def url(self) -> str:
        """The address for a browser or curl."""
        return f"http://localhost:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        """What a call must carry: a token where callers sign in, else the key, if one is set."""
        if self.token:
            return {"content-type": "application/json", "authorization": f"Bearer {self.token}"}
        key = self.environment.get("LOCAL_FUNCTION_KEY")
        return {"content-type": "application/json"} | ({"x-functions-key": key} if key else {})


async def run(stack: LocalStack, options: FunctionsHostOptions, about: Awaitable[str]) -> None:
    """Start everything, ask the question, serve until cancelled.

    Args:
        stack: not started.
        options: of the functions host.
        about: words about who answers; asked for once all runs.

    Raises:
        RunError: the host ended.
    """
    began_s = time.monotonic()
    refuse_ports_in_use(options.port, *stack.ports)
    if not options.port:
        options = dataclasses.replace(options, port=free_port())
    _print(f"{options.url}/api/ui")
    async with contextlib.AsyncExitStack() as resources:
        # The host indexes the app in its own process while the session pool starts in this one, and
        # stops first: what it still answers may need the others. A free port of a stand-in is known
        # only when that has started.
        if not stack.app_settings:
            await resources.enter_async_context(stack)
            host = await _start_host(stack, options)
        else:
            host = await _start_host(stack, options)
            resources.push_async_callback(end, host, _STOP_TIMEOUT_S)
            await resources.enter_async_context(stack)
        resources.push_async_callback(end, host, _STOP_TIMEOUT_S)
        await _until_ready(host, options)
        _print(f"\nReady in {time.monotonic() - began_s:.1f} s.\n")
        try:
            await _ask(options)
        except _NotAnswered as error:
            # What is wrong can be mended while all this runs: a model server that is not started.
            _print(f"{error}\n")
        _print(await about, _how_to_go_on(options, stack))
        code = await host.wait()
        raise RunError(f"The functions host ended with exit code {code}; its message is above.")


async def _start_host(
    stack: LocalStack, options: FunctionsHostOptions
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "local.functions_host", str(options.app_dir)),
        *("--port", str(options.port), "--grace", str(_GRACE_S), "--stop-with-parent"),
        *(["--sign-in"] if options.token else []),
        cwd=PROJECT,
        env={
            "CONVERSATIONS_URL": CONVERSATIONS.as_uri(),
            "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": str(defaults.MAX_REQUEST_BODY_BYTES),
            **({"AZURE_OPENAI_VISION": "questions"} if stack.openai.sees else {}),
            **options.environment,
            **stack.app_settings,
            **(_sign_in_settings(stack) if options.token else {}),
        },
    )


def _sign_in_settings(stack: LocalStack) -> dict[str, str]:
    """What infra/ sets where callers sign in, and whose tokens they may bring."""
    return {"SIGN_IN_REQUIRED": "true", "LOCAL_IDENTITY_PUBLIC_KEY": stack.identity.public_key}


async def _until_ready(host: asyncio.subprocess.Process, options: FunctionsHostOptions) -> None:
    while host.returncode is None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, answer = await asyncio.to_thread(_call, options, "GET", "/admin/host/status")
            if status == 200 and answer.get("state") == "Running":
                return
        await asyncio.sleep(0.03)
    raise RunError("The functions host did not start; its message is above.")


async def _ask(options: FunctionsHostOptions) -> None:
    _print(f"Question: {QUESTION}")
    began_s = time.monotonic()
    try:
        status, answer = await asyncio.to_thread(
            _call, options, "POST", "/api/chat", json.dumps({"input": QUESTION})
        )
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _NotAnswered(f"The question was not answered: {error!r}") from error
    if status != 200:
        reason = answer.get("detail") or answer.get("title") or "no reason given"
        raise _NotAnswered(f"The question was not answered ({status}): {reason}")
    _print(f"Answer ({time.monotonic() - began_s:.1f} s): {answer['output']}\n")
    for execution in answer["executions"]:
        _print(f"Python that ran in a session ({execution['duration_ms']} ms):\n")
        printed = "\n".join(execution[part] or "" for part in ("stdout", "result")).strip()
        _print(textwrap.indent(execution["code"].strip(), "    "), "")
        _print(textwrap.indent(printed, "    → "), "")


def _call(
    options: FunctionsHostOptions, method: str, path: str, body: str | None = None
) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("localhost", options.port, timeout=_ANSWER_TIMEOUT_S)
    with contextlib.closing(connection):
        connection.request(method, path, body, options.headers)
        answer = connection.getresponse()
        content = answer.read()
        is_json = "json" in answer.headers.get("content-type", "")
        return answer.status, json.loads(content) if is_json else {}


def _how_to_go_on(options: FunctionsHostOptions, stack: LocalStack) -> str:
    headers = "".join(f" -H '{name}: {value}'" for name, value in options.headers.items())
    question = json.dumps({"input": "What is 2 to the power of 100?"})
    token = ""
    if options.token:
        endpoint, secret = (stack.app_settings[f"IDENTITY_{n}"] for n in ("ENDPOINT", "HEADER"))
        query = f"api-version=2019-08-01&resource={defaults.SIGN_IN_AUDIENCE}"
        read = 'import json, sys; print(json.load(sys.stdin)["access_token"])'
        token = (
            f"  token=$(curl -s -H 'x-identity-header: {secret}' '{endpoint}?{query}' |\n"
            f"    python3 -c '{read}')\n"
        )
        headers = """ -H 'content-type: application/json' -H "authorization: Bearer $token\""""
    return (
        f"\nGo on:\n\n{token}"
        f"  curl {options.url}/api/chat{headers} -d '{question}'\n\nCtrl-C stops all."
    )


def _print(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)
