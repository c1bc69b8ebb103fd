"""The unpacked package starts on the functions host and answers a question."""

import asyncio
import time
from pathlib import Path

import httpx2
import pytest

from local.session_pool import PoolOptions
from local.stack import LocalStack
from tests.package.building import SITE_PACKAGES
from tests.support.functions_host import host_process
from tests.support.processes import cpu_s

MEBIBYTE = 2**20


@pytest.fixture
def sizes(package: Path, app_dir: Path) -> tuple[float, float]:
    """MiB of the zip, and of what it holds."""
    unpacked_bytes = sum(file.stat().st_size for file in app_dir.rglob("*") if file.is_file())
    return package.stat().st_size / MEBIBYTE, unpacked_bytes / MEBIBYTE


async def test_package_answers_a_question(
    app_dir: Path, sizes: tuple[float, float], capsys: pytest.CaptureFixture[str]
) -> None:
    async with LocalStack(pool=PoolOptions(preload=())) as azure:
        started_s = time.monotonic()
        environment = {**azure.app_settings, "PYTHONPATH": str(app_dir / SITE_PACKAGES)}
        with host_process(app_dir, environment=environment) as host:
            await asyncio.to_thread(host.wait_until_ready)
            indexed_s = time.monotonic() - started_s
            async with httpx2.AsyncClient(base_url=host.url, timeout=30) as client:
                answer = await client.get("/api/chat", params={"input": "What is 17 * 23?"})
            answered_s = time.monotonic() - started_s
            used_s = cpu_s(host.process.pid)

    assert answer.status_code == 200, answer.text
    assert "391" in answer.json()["output"]
    assert [execution["status"] for execution in answer.json()["executions"]] == ["Succeeded"]
    zipped_mib, unpacked_mib = sizes
    assert unpacked_mib < 105  # 110 MB
    with capsys.disabled():
        print(
            f"\nPackage: {zipped_mib:.0f} MiB zipped, {unpacked_mib:.0f} MiB unpacked. "
            f"Cold start: indexed after {indexed_s:.2f} s, first answer after {answered_s:.2f} s, "
            f"{used_s:.2f} s of CPU."
        )
