"""Every attack loses in a session, as root and as an ordinary user; outside it wins."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.local.session_pool.sandbox.attacks.catalogue import ATTACKS, Attack

PROJECT = Path(__file__).parents[4]
AS_USER = Path(__file__).parent / "attacks" / "as_user.py"
ORDINARY_UID = 12_345
RUN = [sys.executable, "-m", "tests.local.session_pool.sandbox.attacks.run"]
AS_ROOT, AS_ORDINARY, PLAIN = "as root", "as an ordinary user", "as an ordinary user, plain"


@functools.cache
def report(who: str) -> dict[str, Any]:
    """What won."""
    result = _run(who)
    assert result.returncode == 0, result.stderr[-3000:]
    answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return answer


@functools.cache
def _run(who: str) -> subprocess.CompletedProcess[str]:
    """One run takes all attacks."""
    command = [*RUN, *(["plain"] if who == PLAIN else [])]
    if who == AS_ROOT and os.getuid() != 0:
        pytest.skip("this is not root")
    if who != AS_ROOT and os.getuid() == 0:
        command = [sys.executable, str(AS_USER), str(ORDINARY_UID), *command]
    return subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, timeout=250, check=False
    )


@pytest.mark.parametrize("who", [AS_ROOT, AS_ORDINARY, PLAIN])
def test_the_sandbox_runs_as_that_user(who: str) -> None:
    ran = report(who)
    assert (ran["user"] == 0) == (who == AS_ROOT)
    assert ran["kernels"].startswith("plain" if who == PLAIN else "fork server")


@pytest.mark.parametrize("who", [AS_ROOT, AS_ORDINARY, PLAIN])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_it_loses(attack: Attack, who: str) -> None:
    attempt = report(who)["attempts"][attack.name]
    assert attempt["finished"], attempt["stderr"]
    assert not attempt["won"]


@pytest.mark.parametrize("who", [AS_ROOT, AS_ORDINARY])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_its_control_wins_outside(attack: Attack, who: str) -> None:
    if not report(who)["controls"][attack.name]:
        assert attack.control_may_lose, "the attempt fails without a sandbox: it shows nothing"
        pytest.skip(attack.control_may_lose)
