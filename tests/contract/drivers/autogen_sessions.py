"""Every operation of AutoGen's ACADynamicSessionsCodeExecutor, and what each gave."""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

# Installed for these programs only, see tests/support/session_clients.py.
from autogen_core import CancellationToken
from autogen_core.code_executor import CodeBlock
from autogen_ext.code_executors.azure import ACADynamicSessionsCodeExecutor
from azure.identity import DefaultAzureCredential

POOL = sys.argv[1]


async def main(folder: Path) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    (folder / "a.txt").write_text("from here")
    token = CancellationToken()
    executor = ACADynamicSessionsCodeExecutor(
        pool_management_endpoint=POOL, credential=DefaultAzureCredential(), work_dir=folder
    )
    await executor.start()

    async def run(*codes: str) -> list[Any]:
        blocks = [CodeBlock(code=code, language="python") for code in codes]
        result = await executor.execute_code_blocks(blocks, token)
        return [result.exit_code, result.output]

    # The first execution also asks which packages there are.
    seen["printed"] = await run("print(6 * 7)", "1 + 1")
    seen["failed"] = await run("1/0")
    await executor.upload_files(["a.txt"], token)
    seen["files"] = await executor.get_file_list(token)
    seen["read"] = await run("print(open('/mnt/data/a.txt').read())")
    await run("open('/mnt/data/b.txt', 'w').write('from there')")
    await executor.download_files(["b.txt"], token)
    seen["saved"] = (folder / "b.txt").read_text()
    packages = await executor.get_available_packages(token)
    seen["packages"] = sorted(packages)
    await executor.restart()
    seen["after a restart"] = await executor.get_file_list(token)
    await executor.stop()
    return seen


with tempfile.TemporaryDirectory() as work_dir:
    print(json.dumps(asyncio.run(main(Path(work_dir)))))
