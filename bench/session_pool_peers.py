"""Other ways to run code that a model wrote, measured the same way where they are installed."""

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from local.session_pool import prepare_session_image

_ROOT = Path(__file__).parents[1]
_DRIVERS = Path(__file__).parent / "peers"
_FOLDER = _ROOT / ".local" / "bench-peers"
_TIMEOUT_S = 300

SCIENCE = """import numpy as np, pandas as pd
import matplotlib.pyplot as plt
frame = pd.DataFrame({'x': np.arange(50), 'y': np.random.rand(50).cumsum()})
plt.plot(frame.x, frame.y)
plt.title('walk')
plt.show()"""


@dataclass(frozen=True)
class Peer:
    """What one way took; None where it has no such thing."""

    name: str
    first_print_ms: float | None
    warm_print_ms: float | None
    first_plot_ms: float | None
    note: str


def measure() -> list[Peer]:
    """Measure every peer; one that is not installed says so in its note."""
    return [
        _python(),
        _driven("Kernel Gateway", "kernel_gateway", "no isolation, keeps state"),
        _driven("llm-sandbox, bubblewrap", "llm_sandbox", "isolated, no state"),
    ]


def install() -> None:
    """Install the peers that are on the package index."""
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "pip", "install", "--python", sys.executable, "--target", str(_FOLDER)]
    packages = ["jupyter_kernel_gateway", "ipykernel", "llm-sandbox"]
    subprocess.run([*command, *packages], check=True, cwd="/")  # noqa: S603 - uv of this environment, for the three packages above


def _python() -> Peer:
    def run(code: str) -> float:
        started_s = time.perf_counter()
        subprocess.run(  # noqa: S603 - `print(1)` or the plot below, by the interpreter that measures
            [sys.executable, "-c", code], env=_environment(), check=True, capture_output=True
        )
        return (time.perf_counter() - started_s) * 1000

    prints = statistics.median(run("print(1)") for _ in range(10))
    plot = f"{SCIENCE}\nimport io; plt.savefig(io.BytesIO())"
    run(plot)
    return Peer(
        "python -c", prints, None, statistics.median(run(plot) for _ in range(3)), "no isolation"
    )


def _driven(name: str, driver: str, note: str) -> Peer:
    if not (_FOLDER / driver).is_dir():
        return Peer(name, None, None, None, "not installed (--install-peers)")
    image = [str(prepare_session_image() / "packages")]
    try:
        result = subprocess.run(  # noqa: S603 - a file of bench/peers, given the code that all peers run
            [sys.executable, str(_DRIVERS / f"{driver}_session.py"), SCIENCE, *image],
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
        times: dict[str, float | None] = json.loads(result.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        output = getattr(error, "stderr", None) or str(error)
        return Peer(name, None, None, None, f"does not run here: {output.strip()[-80:]}")
    return Peer(name, times["first_print"], times["warm_print"], times["first_plot"], note)


def _environment() -> dict[str, str]:
    packages = prepare_session_image() / "packages"
    return {
        "PATH": os.defpath,
        "HOME": str(_FOLDER.parent),
        "MPLBACKEND": "agg",
        "PYTHONPATH": f"{_FOLDER}{os.pathsep}{packages}",
    }
