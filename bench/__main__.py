"""`make bench`: our app against the floor and against the usual way, in one interleaved run.

The floor makes the three HTTPS calls of a turn and nothing else; the usual way builds credential,
clients and kernel in every request. All run on the same functions host against the same Azure that
costs nothing (bench/fake_azure.py). Figures are medians over the rounds; trust the ratios.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx2

from bench.app_process import (
    FULL_ENVIRONMENT,
    ROOT,
    App,
    RunningApp,
    fake_azure,
    first_answer,
    running,
)

FULL_PYTHON = FULL_ENVIRONMENT / "bin" / "python"
APPS = (
    App("floor", ROOT / "bench/apps/floor", FULL_PYTHON),
    App("ours", ROOT, Path(sys.executable)),
    App("usual way", ROOT / "bench/apps/tutorial", FULL_PYTHON),
)
# Figure, what ours may be at most as a multiple of the floor's (None: an absolute bound, below).
TARGETS = {
    "cold start to first answer, CPU s": 2.0,
    "warm turn, CPU ms": 3.0,
    "100 new conversations at once, s": 1.25,
}
MAX_RSS_MB = 110
WARM_TURNS = 100
AT_ONCE = 100
QUESTION = {"input": "What time is it?"}

Figures = dict[str, float]


def main() -> int:
    """Measure, print the table; the exit code is 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    _install_full_environment()
    figures: dict[str, list[Figures]] = {app.name: [] for app in APPS}
    with tempfile.TemporaryDirectory() as folder, fake_azure(Path(folder)) as settings:
        for round_ in range(rounds + 1):
            for app in APPS:
                measured = _measure(app, settings)
                if round_:  # the first warms the file caches
                    figures[app.name].append(measured)
            print(f"round {round_} of {rounds}", file=sys.stderr)
    medians = {name: _medians(runs) for name, runs in figures.items()}
    _print_table(medians)
    return _print_targets(medians)


def _install_full_environment() -> None:
    if FULL_PYTHON.exists():
        return
    print("installing what the other two apps need, once ...", file=sys.stderr)
    uv = Path(sys.executable).with_name("uv")
    requirements = ROOT / "bench/requirements.txt"
    commands: tuple[list[str | Path], ...] = (
        [uv, "venv", "--quiet", "--python", sys.executable, FULL_ENVIRONMENT],
        [
            uv,
            "pip",
            "install",
            "--no-config",
            "--quiet",
            "--python",
            FULL_PYTHON,
            "-r",
            requirements,
        ],
    )
    for command in commands:
        subprocess.run(command, check=True)  # noqa: S603 - fixed commands
    subprocess.run(  # noqa: S603 - as pip does, and a remote build
        [FULL_PYTHON, "-m", "compileall", "-q", FULL_ENVIRONMENT / "lib"], check=False
    )


def _measure(app: App, settings: Mapping[str, str]) -> Figures:
    control = settings["AZURE_OPENAI_ENDPOINT"]
    with httpx2.Client(verify=settings["SSL_CERT_FILE"]) as azure:
        azure.post(f"{control}/delays", json={"model_s": 0, "pool_s": 0}).raise_for_status()
        began_s = time.monotonic()
        with running(app, settings) as process:
            first_answer(process)
            figures = {
                "cold start to first answer, CPU s": process.cpu_s(),
                "cold start to first answer, wall s": time.monotonic() - began_s,
                "RSS after the first answer, MB": process.rss_mb(),
                **asyncio.run(_warm(process)),
            }
            delays = {"model_s": 0.5, "pool_s": 0.3}
            azure.post(f"{control}/delays", json=delays).raise_for_status()
            return figures | asyncio.run(_at_once(process))


async def _warm(process: RunningApp) -> Figures:
    async with httpx2.AsyncClient(timeout=60) as client:
        for _ in range(10):
            (await client.post(process.url, json=QUESTION)).raise_for_status()
        cpu_s, began_s = process.cpu_s(), time.monotonic()
        for _ in range(WARM_TURNS):
            (await client.post(process.url, json=QUESTION)).raise_for_status()
        return {
            "warm turn, CPU ms": (process.cpu_s() - cpu_s) / WARM_TURNS * 1e3,
            "warm turn, wall ms": (time.monotonic() - began_s) / WARM_TURNS * 1e3,
        }


async def _at_once(process: RunningApp) -> Figures:
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(timeout=120, limits=limits) as client:
        began_s = time.monotonic()
        replies = await asyncio.gather(
            *(client.post(process.url, json=QUESTION) for _ in range(AT_ONCE))
        )
        took_s = time.monotonic() - began_s
    failed = sum(not reply.is_success for reply in replies)
    return {
        "100 new conversations at once, s": took_s,
        "of these failed": failed,
        "RSS after these, MB": process.rss_mb(),
    }


def _medians(runs: list[Figures]) -> Figures:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def _print_table(medians: dict[str, Figures]) -> None:
    floor = medians["floor"]
    print(f"| | {' | '.join(medians)} |")
    print(f"|---|{'---|' * len(medians)}")
    for figure, least in floor.items():
        cells = []
        for name, figures in medians.items():
            ratio = f" (x{figures[figure] / least:.2f})" if name != "floor" and least else ""
            cells.append(f"{figures[figure]:.3g}{ratio}")
        print(f"| {figure} | {' | '.join(cells)} |")


def _print_targets(medians: dict[str, Figures]) -> int:
    floor, ours = medians["floor"], medians["ours"]
    checks: list[tuple[str, Callable[[], bool]]] = [
        (f"{figure}: at most {factor} x the floor", _within(ours, floor, figure, factor))
        for figure, factor in TARGETS.items()
    ]
    rss = "RSS after the first answer, MB"
    checks.append((f"{rss}: at most {MAX_RSS_MB}", lambda: ours[rss] <= MAX_RSS_MB))
    checks.append(("no error", lambda: ours["of these failed"] == 0))
    print()
    for text, holds in checks:
        print(f"{'met   ' if holds() else 'MISSED'} {text}")
    return 0 if all(holds() for _, holds in checks) else 1


def _within(ours: Figures, floor: Figures, figure: str, factor: float) -> Callable[[], bool]:
    return lambda: ours[figure] <= factor * floor[figure]


if __name__ == "__main__":
    sys.exit(main())
