"""Every operation of LangChain's SessionsBashTool, against a pool of type Shell."""

import io
import json
import sys
from typing import Any

# Installed for these programs only, see tests/support/session_clients.py.
from langchain_azure_dynamic_sessions import SessionsBashTool

POOL = sys.argv[1]


def main() -> dict[str, Any]:
    tool = SessionsBashTool(pool_management_endpoint=POOL)
    seen: dict[str, Any] = {
        "echo": json.loads(tool.invoke("echo hello")),
        "failed": json.loads(tool.invoke("echo oops >&2; exit 3")),
        "fenced": json.loads(tool.invoke("```bash\necho $((6 * 7))\n```")),
    }
    uploaded = tool.upload_file(data=io.BytesIO(b"text"), remote_file_path="a.txt")
    seen["uploaded"] = [uploaded.filename, uploaded.size_in_bytes]
    seen["read"] = json.loads(tool.invoke("cat /mnt/data/a.txt"))
    seen["files"] = [file.full_path for file in tool.list_files()]
    seen["content"] = tool.download_file(remote_file_path="a.txt").read().decode()
    return seen


print(json.dumps(main()))
