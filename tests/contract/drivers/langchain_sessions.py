"""Every operation of LangChain's SessionsPythonREPLTool, and what each gave."""

import io
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import requests

# Installed for these programs only, see tests/support/session_clients.py.
from langchain_azure_dynamic_sessions import SessionsPythonREPLTool

POOL = sys.argv[1]
FIGURE = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"


def main() -> dict[str, Any]:
    # Tokens come from DefaultAzureCredential, which finds the managed identity.
    tool = SessionsPythonREPLTool(pool_management_endpoint=POOL)
    seen: dict[str, Any] = {}
    seen["invoked"] = json.loads(tool.invoke("6 * 7"))
    call = {"args": {"python_code": "print(1)"}, "id": "1", "name": tool.name, "type": "tool_call"}
    seen["tool call"] = json.loads(tool.invoke(call).content)
    seen["executed"] = tool.execute("print('hello')\n1 + 1")
    seen["fenced"] = tool.execute("```python\n'fenced'\n```")["result"]
    tool.execute("x = 41")
    seen["state"] = tool.execute("x + 1")["result"]
    seen["failed"] = tool.execute("1/0")
    seen["figure without its bytes"] = json.loads(tool.invoke(FIGURE))["result"]
    seen["figure"] = sorted(tool.execute(FIGURE)["result"])

    uploaded = tool.upload_file(data=io.BytesIO(b"a,b\n"), remote_file_path="ü 1.csv")
    seen["uploaded"] = [uploaded.filename, uploaded.size_in_bytes, uploaded.full_path]
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / "local.csv"
        local.write_text("local")
        tool.upload_file(local_file_path=str(local))
        tool.download_file(remote_file_path="local.csv", local_file_path=f"{folder}/back.csv")
        seen["saved"] = (Path(folder) / "back.csv").read_text()
    seen["files"] = sorted(file.full_path for file in tool.list_files())
    seen["content"] = tool.download_file(remote_file_path="ü 1.csv").read().decode()
    try:
        tool.download_file(remote_file_path="missing.csv")
    except requests.HTTPError as error:
        seen["missing"] = error.response.status_code if error.response is not None else None

    before = tool.session_id
    tool.delete_session()
    seen["another session"] = tool.session_id != before
    seen["deleted"] = is_gone(tool, before)
    with SessionsPythonREPLTool(pool_management_endpoint=POOL) as used:
        used.execute("1")
        inside = used.session_id
    seen["closed"] = is_gone(tool, inside)
    once = SessionsPythonREPLTool(
        pool_management_endpoint=POOL, delete_session_after_invocation=True
    )
    first = once.session_id
    once.invoke("1")
    seen["deleted after invocation"] = is_gone(tool, first)
    return seen


def is_gone(tool: SessionsPythonREPLTool, identifier: str) -> bool:
    """Whether the session ends soon: the tool deletes in a thread."""
    url = f"{POOL}/session?identifier={identifier}&api-version=2025-10-02-preview"
    headers = {"Authorization": f"Bearer {tool.access_token_provider()}"}
    for _ in range(600):
        if requests.get(url, headers=headers, timeout=5).status_code == 400:
            return True
        time.sleep(0.05)
    return False


print(json.dumps(main()))
