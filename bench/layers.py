"""`python -m bench.layers`: where the CPU time of a warm turn goes, and that of importing the app.

Shares by layer, of two sources: a sampler in the app's process (bench/sampled_host.py) during warm
turns, and `python -X importtime`.
"""

import argparse
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from json import loads
from pathlib import Path

import httpx2

from bench.app_process import ROOT, App, fake_azure, first_answer, running
from bench.sampled_host import SAMPLES_FILE

OURS = App("ours", ROOT, Path(sys.executable), module="bench.sampled_host")
QUESTION = {"input": "What time is it?"}
WARM_UP_TURNS = 50
# Layer → the first folders below site-packages that belong to it; the first that fits counts.
LAYERS: Mapping[str, tuple[str, ...]] = {
    "Semantic Kernel": ("semantic_kernel",),
    "openai": ("openai",),
    "pydantic": ("pydantic", "pydantic_core", "pydantic_settings", "typing_extensions"),
    "aiohttp": ("aiohttp", "yarl", "multidict", "aiosignal", "frozenlist", "httpx_aiohttp"),
    "httpx2": ("httpx2", "httpcore2", "h11", "anyio", "httpx", "httpcore"),
    "Functions host and worker": (
        "azure_functions_runtime",
        "azurefunctions",
        "fastapi",
        "starlette",
        "uvicorn",
        "httptools",
        "azure/functions",
    ),
    "azure-identity": ("azure", "msal", "requests", "cryptography", "urllib3"),
    "telemetry": ("opentelemetry",),
}


def main() -> int:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.layers")
    parser.add_argument("--turns", type=int, default=1_000)
    turns = parser.parse_args().turns
    with tempfile.TemporaryDirectory() as folder, fake_azure(Path(folder)) as settings:
        samples = _samples(settings, Path(folder) / "samples.json", turns)
        imports = _imports(settings)
    _print_shares(f"a warm turn, of {turns} turns", samples)
    _print_shares("importing the app", imports)
    return 0


def layer_of(file: str) -> str:
    """The layer of a file."""
    path = Path(file).as_posix()
    _, _, below = path.rpartition("site-packages/")
    if below != path:
        for layer, packages in LAYERS.items():
            if any(f"{below}/".startswith((f"{name}/", f"{name}.py")) for name in packages):
                return layer
        return "other packages"
    if path.startswith(f"{ROOT.as_posix()}/agent/"):
        return f"agent/{path.removeprefix(f'{ROOT.as_posix()}/agent/').partition('/')[0]}"
    if path.startswith(f"{ROOT.as_posix()}/"):
        return "Functions host and worker"
    return "Python: asyncio and ssl" if re.search(r"/(asyncio/|ssl\.py)", path) else "Python: rest"


def module_layer(module: str) -> str:
    """The layer of an imported module."""
    if module == "agent" or module.startswith("agent."):
        return "agent"
    path = module.replace(".", "/")
    for layer, packages in LAYERS.items():
        if any(path == name or path.startswith(f"{name}/") for name in packages):
            return layer
    first = module.partition(".")[0]
    return "Python" if first.lstrip("_") in _STANDARD or first in _STANDARD else "other packages"


_STANDARD = sys.stdlib_module_names


def import_times(printed: str) -> Iterable[tuple[str, int]]:
    """Modules and the microseconds of each alone, from what -X importtime prints."""
    for own_us, module in re.findall(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)$", printed, re.M):
        yield module, int(own_us)


def _samples(settings: Mapping[str, str], report: Path, turns: int) -> Counter[str]:
    with running(OURS, {**settings, SAMPLES_FILE: str(report)}) as app:
        first_answer(app)
        with httpx2.Client(timeout=60) as client:
            for turn in range(WARM_UP_TURNS + turns):
                if turn == WARM_UP_TURNS:
                    app.process.send_signal(signal.SIGUSR1)
                client.post(app.url, json=QUESTION).raise_for_status()
        app.process.send_signal(signal.SIGUSR2)
        while not report.exists():
            time.sleep(0.02)
    shares: Counter[str] = Counter()
    for file, count in loads(report.read_text()).items():
        shares[layer_of(file)] += count
    return shares


def _imports(settings: Mapping[str, str]) -> Counter[str]:
    code = "import function_app, agent.http.chat, agent.runtime"
    done = subprocess.run(  # noqa: S603 - the imports above, by the interpreter that measures
        [sys.executable, "-X", "importtime", "-c", code],
        cwd=ROOT,
        env=dict(settings),
        check=True,
        capture_output=True,
        text=True,
    )
    shares: Counter[str] = Counter()
    for module, own_us in import_times(done.stderr):
        shares[module_layer(module)] += own_us
    return shares


def _print_shares(what: str, shares: Counter[str]) -> None:
    total = sum(shares.values())
    print(f"| {what} | % |\n|---|---|")
    for layer, count in shares.most_common():
        if count / total >= 0.01:
            print(f"| {layer} | {count / total:.0%} |")
    print()


if __name__ == "__main__":
    sys.exit(main())
