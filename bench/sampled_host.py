"""`python -m bench.sampled_host`: the functions host, with a sampler of what takes its CPU time.

After SIGUSR1 it counts, SIGUSR2 writes to the file that SAMPLES_FILE names, in JSON, how often the
innermost function was in which file. One of the standard library counts for its caller, except in
asyncio and ssl, which the event loop itself calls. Samples are taken by CPU time, so that other
work on the machine hardly changes the shares.
"""

import json
import os
import signal
import sys
import sysconfig
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Final

from local.functions_host.__main__ import main as serve

PERIOD_S: Final = 0.0005
SAMPLES_FILE: Final = "SAMPLES_FILE"
_STANDARD_LIBRARY: Final = f"{sysconfig.get_path('stdlib')}/"


def main() -> int:
    """Serve as the host does; the value is the exit code."""
    report = Path(os.environ[SAMPLES_FILE])  # noqa: TID251 - its arguments are all the functions host's
    counts: Counter[str] = Counter()

    def sample(_: int, frame: FrameType | None) -> None:
        while frame and frame.f_back and _is_library(frame.f_code.co_filename):
            frame = frame.f_back
        if frame:
            counts[frame.f_code.co_filename] += 1

    def begin(*_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, PERIOD_S, PERIOD_S)

    def write(*_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        # Whole or not at all: the other side waits for the file.
        draft = report.with_suffix(".draft")
        draft.write_text(json.dumps(counts))
        draft.rename(report)

    signal.signal(signal.SIGPROF, sample)
    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGUSR2, write)
    return serve()


def _is_library(file: str) -> bool:
    below = file.removeprefix(_STANDARD_LIBRARY)
    return below != file and not below.startswith(("site-packages/", "asyncio/", "ssl.py"))


if __name__ == "__main__":
    sys.exit(main())
