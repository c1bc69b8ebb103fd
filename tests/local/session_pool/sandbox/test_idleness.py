"""When a kernel counts as one that waits for its next cell."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from local.session_pool.sandbox.idleness import Idleness

READS = (
    "import os; ends = os.pipe(); kept = os.dup(ends[1]); os.dup2(ends[0], 4)\n"
    "print(flush=True); os.read(4, 1)"
)
POLLS = "import select; print(flush=True); select.epoll().poll()"


def eventually(holds: Callable[[], bool]) -> bool:
    until_s = time.monotonic() + 10
    while not holds() and time.monotonic() < until_s:
        time.sleep(0.002)
    return holds()


@pytest.mark.parametrize(
    ("code", "waits"),
    [
        (READS, True),
        (POLLS, True),
        ("import time; print(flush=True); time.sleep(60)", False),
        ("import threading; print(flush=True); threading.Event().wait()", False),
        ("import subprocess; print(flush=True); subprocess.call(['sleep', '60'])", False),
        ("print(flush=True)\nwhile True: pass", False),
    ],
    ids=["reads", "polls", "sleeps", "waits for a thread", "waits for a child", "computes"],
)
def test_only_one_that_waits_for_more_is_idle(code: str, waits: bool) -> None:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE, process_group=0
    )
    idleness = Idleness(process.pid)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        if waits:
            assert eventually(lambda: idleness.look() == "idle")
            # The quick look must tell as well, or each execution takes a thread and its time.
            assert eventually(idleness.waits)
        else:
            for _ in range(20):
                time.sleep(0.002)
                assert not idleness.waits()
                assert idleness.look() == "busy"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert not idleness.waits()
    assert idleness.look() == "gone"
    idleness.close()
    assert not idleness.waits()
