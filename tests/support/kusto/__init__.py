"""The Kusto language service, as the portal's editor has it: analyses queries without a service."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.installation import node_program, npm_packages

_HERE = Path(__file__).parent
# Column and type, as read on 2026-11-26 from the pages below
# https://learn.microsoft.com/azure/azure-monitor/reference/tables/, one a table.
TABLES: dict[str, dict[str, str]] = json.loads((_HERE / "tables.json").read_text())


def diagnostics(queries: Sequence[str]) -> list[list[str]]:
    """Return what is wrong with each query: its syntax, or a name or type that `TABLES` has not."""
    files = ["package.json", "package-lock.json", "check.mjs"]
    script = npm_packages("kusto", _HERE, files) / "check.mjs"
    done = subprocess.run(
        [node_program("node"), script],
        input=json.dumps({"tables": TABLES, "queries": list(queries)}),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found: list[list[str]] = json.loads(done.stdout)
    return found
