"""Every operation of Semantic Kernel's SessionsPythonTool, and what each gave."""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from azure.identity import ManagedIdentityCredential
from semantic_kernel import Kernel
from semantic_kernel.core_plugins.sessions_python_tool import (
    SessionsPythonSettings,
    SessionsPythonTool,
)
from semantic_kernel.exceptions import FunctionExecutionException

POOL = sys.argv[1]


async def main() -> dict[str, Any]:
    seen: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        tool = SessionsPythonTool(
            pool_management_endpoint=POOL,
            credential=ManagedIdentityCredential(),
        )
        # A second one on the same session: the first sends "Content-Type: application/json" with
        # everything that follows an execution, also with an upload, which no server can read.
        files = SessionsPythonTool(
            pool_management_endpoint=POOL,
            settings=SessionsPythonSettings(identifier=tool.settings.session_id),
            credential=ManagedIdentityCredential(),
            enable_dangerous_file_uploads=True,
            allowed_upload_directories={folder},
        )
        seen["printed"] = await tool.execute_code("print('hello world')\n1 + 1")
        seen["fenced"] = await tool.execute_code("```python\n6 * 7\n```")
        await tool.execute_code("x = 41")
        seen["state"] = await tool.execute_code("x + 1")
        seen["failed"] = await tool.execute_code("1/0")
        seen["nothing"] = await tool.execute_code("y = 1")
        seen["figure"] = await tool.execute_code(
            "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
        )
        seen["no files"] = [file.filename for file in await files.list_files()]

        local = Path(folder) / "data file.csv"
        local.write_text("a,b\n1,2\n")
        uploaded = await files.upload_file(local_file_path=str(local))
        seen["uploaded"] = [uploaded.filename, uploaded.size_in_bytes, uploaded.full_path]
        named = await files.upload_file(
            local_file_path=str(local), remote_file_path="/mnt/data/reports/renamed.csv"
        )
        seen["named"] = named.full_path
        seen["read"] = await tool.execute_code("print(open('/mnt/data/data file.csv').read())")
        seen["files"] = sorted(file.full_path for file in await files.list_files())
        content = await files.download_file(remote_file_name="data file.csv")
        seen["content"] = content.read().decode() if content else None
        await files.download_file(
            remote_file_name="reports/renamed.csv", local_file_path=f"{folder}/back.csv"
        )
        seen["saved"] = (Path(folder) / "back.csv").read_text()
        try:
            await files.download_file(remote_file_name="missing.csv")
        except FunctionExecutionException as error:
            seen["missing"] = str(error)

        kernel = Kernel()
        plugin = kernel.add_plugin(tool, "sessions")
        answer = await kernel.invoke(plugin["execute_code"], code="print(2 ** 10)")
        seen["invoked"] = str(answer)
        await tool.http_client.aclose()
        await files.http_client.aclose()
    return seen


print(json.dumps(asyncio.run(main())))
