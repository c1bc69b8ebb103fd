"""Runs published clients of the service, unmodified, in processes of their own.

They need packages that neither the agent nor its tests need; these are installed once into a folder
of their own, next to the session image, and are on the path of these processes only.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.azure_openai import AzureOpenAI, StandInModel
from local.defaults import AZURE_OPENAI_AUDIENCE, SESSION_POOL_AUDIENCES
from local.managed_identity import ManagedIdentity
from local.serving import serve
from local.session_pool import PoolOptions, SessionPool
from local.tls import TlsFiles
from tests.support import PROJECT
from tests.support.installation import python_packages

_REQUIREMENTS = Path(__file__).with_name("session_clients.txt")
_DRIVERS = PROJECT / "tests/contract/drivers"


@dataclass(frozen=True)
class ServedPool:
    """A pool over https and the environment in which a client finds it and trusts it."""

    pool: SessionPool
    environment: dict[str, str]


@contextlib.asynccontextmanager
async def served_pool(options: PoolOptions, folder: Path) -> AsyncIterator[ServedPool]:
    """Serve a pool over https, and a model for agents; certificates go to `folder`."""
    identity = ManagedIdentity()
    model = AzureOpenAI(identity.verifier(AZURE_OPENAI_AUDIENCE), deployment=StandInModel.name)
    tls = TlsFiles(folder)
    async with (
        SessionPool(identity.verifier(*SESSION_POOL_AUDIENCES), options) as pool,
        serve(pool.app, tls_files=tls.server_files()) as pool_url,
        serve(identity.app) as identity_url,
        serve(model.app) as model_url,
    ):
        environment = {
            "POOL_MANAGEMENT_ENDPOINT": pool_url + pool.path,
            "IDENTITY_ENDPOINT": identity_url + identity.path,
            "IDENTITY_HEADER": identity.identity_header,
            "AZURE_OPENAI_ENDPOINT": model_url,
            "AZURE_OPENAI_CHAT_DEPLOYMENT_NAME": StandInModel.name,
            "SSL_CERT_FILE": str(tls.bundle),
            "REQUESTS_CA_BUNDLE": str(tls.bundle),
        }
        yield ServedPool(pool, environment)


async def run_driver(name: str, served: ServedPool) -> dict[str, Any]:
    """Run a program of drivers/ against the pool; the value is what it prints as JSON."""
    pool = served.environment["POOL_MANAGEMENT_ENDPOINT"]
    output = await run_program([sys.executable, str(_DRIVERS / f"{name}.py"), pool], served)
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer


async def run_program(command: Sequence[str], served: ServedPool) -> str:
    """Run a program with the clients' packages; the value is its stdout."""
    packages = await asyncio.to_thread(python_packages, "session-clients", _REQUIREMENTS)
    process = await asyncio.create_subprocess_exec(
        *command,
        env={
            "PATH": os.defpath,
            "PYTHONPATH": f"{packages}{os.pathsep}{PROJECT}",
            # Nothing a client finds at home may change what it does.
            "HOME": str(packages),
            **served.environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=_DRIVERS,
    )
    stdout, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()[-3000:]
    return stdout.decode()
