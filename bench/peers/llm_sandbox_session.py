"""llm-sandbox on bubblewrap: a session, then prints, then a plot; milliseconds as JSON."""

import json
import statistics
import sys
import time
from pathlib import Path

# Installed for these programs only, see session_pool_peers.py.
from llm_sandbox.bubblewrap import BubblewrapSession
from llm_sandbox.local.config import DEFAULT_READ_ONLY_PATHS, LocalSandboxConfig

CODE, PACKAGES = sys.argv[1:]
CONFIG = LocalSandboxConfig(
    read_only_paths=(*DEFAULT_READ_ONLY_PATHS, sys.base_prefix, PACKAGES),
    python_executable=str(Path(sys.executable).resolve()),
    env={"PYTHONPATH": PACKAGES, "MPLBACKEND": "agg", "HOME": "/sandbox"},
)


def main() -> dict[str, float]:
    """Open a session and measure."""
    started_s = time.perf_counter()
    with BubblewrapSession(lang="python", sandbox_config=CONFIG, skip_environment_setup=True) as it:
        run(it, "print(1)")
        first_print = (time.perf_counter() - started_s) * 1000
        warm = [timed(it, "print(1)") for _ in range(10)]
        timed(it, CODE)  # the second of two: files are in the cache then
        plot = timed(it, CODE)
    return {
        "first_print": first_print,
        "warm_print": statistics.median(warm),
        "first_plot": plot,
    }


def timed(session: BubblewrapSession, code: str) -> float:
    """Return the milliseconds that code takes."""
    started_s = time.perf_counter()
    run(session, code)
    return (time.perf_counter() - started_s) * 1000


def run(session: BubblewrapSession, code: str) -> None:
    """Run code that must succeed."""
    result = session.run(code)
    if result.exit_code != 0:
        raise RuntimeError(result.stderr)


print(json.dumps(main()))
