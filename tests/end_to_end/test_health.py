"""The probes: alive without a key, ready only if everything that a turn needs can be had."""

import shutil
from pathlib import Path

import httpx2
import pytest

from tests.conftest import SharedAzure
from tests.end_to_end.sessions import live_sessions
from tests.support import PROJECT
from tests.support.functions_host import host_process

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_app_that_can_answer_is_ready(api: httpx2.AsyncClient) -> None:
    reply = await api.get("/health/ready")
    assert reply.status_code == 200
    assert reply.json()["status"] == "ready"
    checks = reply.json()["checks"]
    assert {name: check["ok"] for name, check in checks.items()} == {
        "model": True,
        "session_pool": True,
        "conversations": True,
    }


async def test_a_missing_role_is_named(faults: SharedAzure, api: httpx2.AsyncClient) -> None:
    faults.stack.pool.faults.revoke_role()
    reply = await api.get("/health/ready")
    check = reply.json()["checks"]["session_pool"]
    assert (reply.status_code, check["code"]) == (503, "PoolAccessDenied")
    assert "Azure ContainerApps Session Executor" in check["detail"]


async def test_a_wrong_deployment_is_noticed(
    settings: dict[str, str],
) -> None:
    wrong = settings | {
        "AZURE_OPENAI_CHAT_DEPLOYMENT_NAME": "nothing",
        "LOCAL_FUNCTION_KEY": "key",
    }
    with host_process(PROJECT, environment=wrong) as host:
        host.wait_until_ready()
        async with httpx2.AsyncClient(base_url=f"{host.url}/api/health", timeout=30) as api:
            alive = await api.get("/live")
            stranger = await api.get("/ready")
            ready = await api.get("/ready", headers={"x-functions-key": "key"})
    assert (alive.status_code, alive.json()["status"]) == (200, "alive")
    assert stranger.status_code == 401
    assert ready.status_code == 503
    assert ready.json()["checks"]["model"]["code"] == "DeploymentNotFound"


async def test_asking_makes_no_session(azure: SharedAzure, api: httpx2.AsyncClient) -> None:
    before = await live_sessions(azure)
    await api.get("/health/ready")
    assert await live_sessions(azure) == before


async def test_a_store_that_died_since_is_noticed(
    azure: SharedAzure, settings: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "conversations"
    with host_process(
        PROJECT, environment=settings | {"CONVERSATIONS_URL": folder.as_uri()}
    ) as host:
        host.wait_until_ready()
        async with httpx2.AsyncClient(base_url=f"{host.url}/api", timeout=30) as api:
            assert (await api.post("/conversations")).status_code == 201
            assert (await api.get("/health/ready")).status_code == 200
            shutil.rmtree(folder)
            folder.write_text("not a folder any more")
            ready = await api.get("/health/ready")
    check = ready.json()["checks"]["conversations"]
    assert (ready.status_code, check["ok"], check["code"]) == (503, False, "StoreFailed")
