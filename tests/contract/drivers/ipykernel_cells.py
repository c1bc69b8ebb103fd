"""Runs cells in a real ipykernel, one after the other, and prints what each showed as JSON."""

import json
import queue
import sys
from typing import Any

# Installed for this program alone; see tests/support/installation.py.
from jupyter_client.manager import start_new_kernel

_CELL_TIMEOUT_S = 60


def main() -> None:
    """Read a list of cells from stdin, as JSON; print a list of lists of outputs."""
    cells = json.load(sys.stdin)
    options = ["--InteractiveShell.colors=nocolor", "--HistoryManager.enabled=False"]
    manager, client = start_new_kernel(kernel_name="python3", extra_arguments=options)
    try:
        print(json.dumps([_outputs(client, cell) for cell in cells]))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _outputs(client: Any, code: str) -> list[dict[str, Any]]:
    """Return a cell's outputs, with those replaced and cleared that the kernel says so of."""
    outputs: list[dict[str, Any]] = []
    clear_at_next = False
    sent = client.execute(code, allow_stdin=False)
    while True:
        try:
            message = client.get_iopub_msg(timeout=_CELL_TIMEOUT_S)
        except queue.Empty:
            outputs.append({"output_type": "hung"})
            return outputs
        if message["parent_header"].get("msg_id") != sent:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "status" and content["execution_state"] == "idle":
            return outputs
        if kind == "clear_output":
            clear_at_next = content["wait"]
            if not clear_at_next:
                outputs.clear()
        elif kind in ("stream", "display_data", "execute_result", "error"):
            if clear_at_next:
                outputs.clear()
                clear_at_next = False
            outputs.append({"output_type": kind, **content})
        elif kind == "update_display_data":
            for output in outputs:
                if output.get("transient") == content["transient"]:
                    output["data"] = content["data"]


if __name__ == "__main__":
    main()
