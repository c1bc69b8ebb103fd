"""`python -m bench.watched_host`: the functions host, with a watchdog on its event loop.

SIGUSR1 writes what the watchdog saw since the last one to the file that LOOP_LAG_FILE names, in
JSON: `lags_ms`, how late the loop was each time it was to wake up; `worked_ms`, how much of that
the process worked, in whatever thread, for one that has Python's lock holds the loop too: other
work on the machine hardly changes it; and `held`, for each time that something held it for longer
than HELD_S, the functions that did.
"""

import asyncio
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

from local.functions_host import __main__ as host

PERIOD_S: Final = 0.005
HELD_S: Final = 0.2
FRAMES: Final = 12
LOOP_LAG_FILE: Final = "LOOP_LAG_FILE"


class Watchdog:
    """Wakes up every PERIOD_S; what makes it late holds the loop.

    Args:
        report: gets what was seen.
    """

    def __init__(self, report: Path) -> None:
        self._report = report
        self._lags_ms: list[float] = []
        self._worked_ms: list[float] = []
        self._held: list[list[str]] = []
        self._loop_thread = threading.get_ident()
        self._woke_s = time.monotonic()

    async def watch(self) -> None:
        """Until it is cancelled."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._write)
        threading.Thread(target=self._look_at_the_loop, daemon=True).start()
        while True:
            self._woke_s, cpu_s = time.monotonic(), time.process_time()
            await asyncio.sleep(PERIOD_S)
            late_s = time.monotonic() - self._woke_s - PERIOD_S
            self._lags_ms.append(late_s * 1e3)
            self._worked_ms.append(min(late_s, time.process_time() - cpu_s) * 1e3)

    def _look_at_the_loop(self) -> None:
        seen_s = 0.0
        while True:
            time.sleep(HELD_S / 4)
            woke_s = self._woke_s
            if time.monotonic() - woke_s > HELD_S and woke_s != seen_s:
                seen_s = woke_s
                frames = traceback.extract_stack(sys._current_frames()[self._loop_thread])
                self._held.append([f"{f.filename}:{f.lineno} {f.name}" for f in frames[-FRAMES:]])

    def _write(self) -> None:
        seen = {"lags_ms": self._lags_ms, "worked_ms": self._worked_ms, "held": self._held}
        self._lags_ms, self._worked_ms, self._held = [], [], []
        # Whole or not at all: the other side waits for the file.
        draft = self._report.with_suffix(".draft")
        draft.write_text(json.dumps(seen))
        draft.rename(self._report)


async def _with_watchdog[T](main: Coroutine[Any, Any, T], report: Path) -> T:
    watching = asyncio.create_task(Watchdog(report).watch())
    try:
        return await main
    finally:
        watching.cancel()


def main() -> int:
    """Serve as the host does; the value is the exit code."""
    report = Path(os.environ[LOOP_LAG_FILE])  # noqa: TID251 - started like the functions host, which knows no argument for a report
    run = asyncio.run
    # The host begins its loop by this name, and nothing else here has one.
    asyncio.run = lambda main, **options: run(_with_watchdog(main, report), **options)
    return host.main()


if __name__ == "__main__":
    sys.exit(main())
