"""Tries every attack in a session and outside of any; prints what won, as JSON.

A program of its own, to run as another user:
`python -m tests.local.session_pool.sandbox.attacks.run`.
"""

import asyncio
import contextlib
import json
import os
import pwd
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2

from local.managed_identity import ManagedIdentity
from local.serving import serve
from local.session_pool import PoolOptions, SessionPool
from tests.local.session_pool.sandbox.attacks.catalogue import ATTACKS, Attack
from tests.support.pool_client import AUDIENCE, PoolClient

_PROJECT = Path(__file__).parents[5]
_MEMORY = Path("/dev/shm")  # noqa: S108 - `TemporaryDirectory` makes a folder in it, of a name that nobody can take before


@contextlib.contextmanager
def prepared_target() -> Iterator[dict[str, Any]]:
    """What the attacks are after, on this machine."""
    with contextlib.ExitStack() as prepared:
        folder = Path(prepared.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        for name in ("secret", "program"):
            (folder / name).write_text("secret")
            (folder / name).chmod(0o666)
        (folder / "disk").mkdir(mode=0o777)
        # In memory many files take a fraction of the time.
        memory = _MEMORY if _MEMORY.is_dir() else None
        many = prepared.enter_context(tempfile.TemporaryDirectory(dir=memory))
        listener = prepared.enter_context(socket.create_server(("127.0.0.1", 0)))
        abstract = prepared.enter_context(socket.socket(socket.AF_UNIX))
        name = f"attack-{secrets.token_hex(8)}"
        abstract.bind(f"\0{name}")
        abstract.listen()
        channels = [prepared.enter_context(end) for end in socket.socketpair()]
        password = f"password-{secrets.token_hex(8)}"
        victim = subprocess.Popen(["/bin/sleep", "600"], env={"PASSWORD": password})
        prepared.callback(victim.wait)
        prepared.callback(victim.kill)
        yield {
            "secret": str(folder / "secret"),
            "program": str(folder / "program"),
            "writable": str(folder / "written"),
            "folder": str(folder),
            "home_of_root": pwd.getpwuid(0).pw_dir,
            "disk": str(folder / "disk"),
            "many": many,
            "port": listener.getsockname()[1],
            "abstract": name,
            "victim": victim.pid,
            "password": password,
            "channel": channels[0].fileno(),
            "project": str(_PROJECT),
        }


def outside(code: str, target: dict[str, Any]) -> bool:
    """Try it in a process without a sandbox."""
    program = f"target = {target!r}\n{code}\nprint('won' if won else 'lost')"
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(_PROJECT)],
        pass_fds=[target["channel"]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
        env={"PASSWORD": target["password"]},
    )
    for left_behind in ("/usr/lib", "/", "/dev"):
        Path(left_behind, "probe-of-a-test").unlink(missing_ok=True)
    return result.stdout.strip().endswith("won")


async def inside(client: PoolClient, code: str, target: dict[str, Any]) -> dict[str, Any]:
    """Try it in a session of its own; an attempt that raises shows nothing and is reported."""
    answer = await client.execute(f"target = {target!r}\n{code}\nbool(won)")
    await client.request("DELETE", "session")
    stderr = answer["result"]["stderr"]
    # A session that is killed for what it tries has lost as well.
    killed = stderr.startswith("Kernel restarted")
    return {
        "won": answer["result"]["executionResult"] is True,
        "finished": killed or answer["result"]["executionResult"] in (True, False),
        "stderr": stderr[-500:],
    }


def by_name[Outcome](outcomes: list[Outcome]) -> dict[str, Outcome]:
    """Of each attack, in the order of the catalogue."""
    return {attack.name: outcome for attack, outcome in zip(ATTACKS, outcomes, strict=False)}


async def main(fork_server: bool) -> dict[str, Any]:
    """Run all of them."""
    identity = ManagedIdentity()
    options = PoolOptions(fork_server=fork_server, preload=(), ready_sessions=4)
    with prepared_target() as target:
        # The file system counts for the fork server; elsewhere a watchdog looks now and then.
        target["files"] = 70_000 if fork_server else 200_000
        at_once = asyncio.Semaphore(options.ready_sessions)

        async def control(attack: Attack) -> bool:
            async with at_once:
                return await asyncio.to_thread(outside, attack.code, target)

        controls = await asyncio.gather(*map(control, ATTACKS if fork_server else ()))
        async with (
            SessionPool(identity.verifier(AUDIENCE), options) as pool,
            serve(pool.app) as base_url,
            httpx2.AsyncClient(base_url=base_url, timeout=60) as http,
        ):
            client = PoolClient(pool, http, identity)

            async def attempt(attack: Attack) -> dict[str, Any]:
                async with at_once:
                    return await inside(client.of(), attack.code, target)

            attempts = await asyncio.gather(*map(attempt, ATTACKS))
            return {
                "user": os.getuid(),
                "kernels": pool.kernels,
                "controls": by_name(controls),
                "attempts": by_name(attempts),
            }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(fork_server="plain" not in sys.argv))))
