"""Runs a test's program as another user."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

_PROJECT = Path(__file__).parents[4]
_AS_USER = Path(__file__).parent / "attacks" / "as_user.py"
_ORDINARY_UID = 12_345


def report_of(
    program: ModuleType, *arguments: str, ordinary: bool, uid: int = _ORDINARY_UID
) -> dict[str, Any]:
    """Return the JSON that a module of the tests prints as its last line.

    Args:
        program: it runs as `__main__`; its report says who was its `user`.
        arguments: its command line.
        ordinary: whether a user without rights runs it, and not this one.
        uid: who that is, if we are root.
    """
    command = [sys.executable, "-m", program.__name__, *arguments]
    if ordinary and os.getuid() == 0:
        command = [sys.executable, str(_AS_USER), f"{uid}", *command]
    result = subprocess.run(
        command, cwd=_PROJECT, capture_output=True, text=True, timeout=250, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    report: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    assert (report["user"] == 0) == (not ordinary and os.getuid() == 0)
    return report
