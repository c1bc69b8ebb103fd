"""`make bench`: our app against the floor and against the usual way, in one interleaved run.

The floor makes the three HTTPS calls of a turn and nothing else; the usual way builds credential,
clients and kernel in every request. All run on the same functions host against the same Azure that
costs nothing (bench/fake_azure.py). Everything is compiled before. The apps
are measured one after the other in every round: figures are medians over the rounds, and a ratio is
the median of the ratios to the floor of the same round, so that whatever else the machine does
weighs on both sides.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
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
    App("ours, telemetry on", ROOT, Path(sys.executable), telemetry=True),
    App("usual way", ROOT / "bench/apps/tutorial", FULL_PYTHON),
)
# Figure, what ours may be at most as a multiple of the floor's (None: an absolute bound, below).
TARGETS = {
    "cold start to first answer, CPU s": 2.0,
    "warm turn, CPU ms": 3.0,
    "100 new conversations at once, s": 1.25,
}
MAX_RSS_MB = 110
WARM_UP_TURNS = 30
WARM_TURNS = 300
AT_ONCE = 100
QUESTION = {"input": "What time is it?"}

Figures = dict[str, float]


def main() -> int:
    """Measure, print the table; the exit code is 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    _install_full_environment()
    _compile()
    figures: dict[str, list[Figures]] = {app.name: [] for app in APPS}
    with tempfile.TemporaryDirectory() as folder, fake_azure(Path(folder)) as settings:
        for round_ in range(rounds + 1):
            for app in APPS:
                measured = _measure(app, settings)
                if round_:  # the first warms the file caches
                    figures[app.name].append(measured)
            print(f"round {round_} of {rounds}", file=sys.stderr)
    _print_table(figures)
    return _print_targets(figures)


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


def _compile() -> None:
    """Compile all apps and what they import, as pip and a remote build do."""
    for python in {app.python for app in APPS}:
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        packages = subprocess.run(  # noqa: S603 - our own interpreters
            [python, "-c", code], check=True, capture_output=True, text=True
        ).stdout.strip()
        subprocess.run(  # noqa: S603 - likewise; some packages ship files for other versions
            [python, "-m", "compileall", "-q", packages, ROOT / "agent", ROOT / "local"],
            check=False,
            stdout=subprocess.DEVNULL,
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
            }
            before = azure.get(f"{control}/calls").json()
            figures |= asyncio.run(_warm(process))
            after = azure.get(f"{control}/calls").json()
            turns = WARM_UP_TURNS + WARM_TURNS
            figures |= {f"calls a turn: {of}": (after[of] - before[of]) / turns for of in after}
            delays = {"model_s": 0.5, "pool_s": 0.3}
            azure.post(f"{control}/delays", json=delays).raise_for_status()
            return figures | asyncio.run(_at_once(process))


async def _warm(process: RunningApp) -> Figures:
    async with httpx2.AsyncClient(timeout=60) as client:
        for _ in range(WARM_UP_TURNS):
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


def _median(runs: list[Figures], figure: str) -> float:
    return statistics.median(run[figure] for run in runs)


def _ratio(runs: list[Figures], floor: list[Figures], figure: str) -> float:
    """How many times the floor, in the middle one of the rounds."""
    pairs = zip(runs, floor, strict=True)
    return statistics.median(run[figure] / least[figure] for run, least in pairs)


def _print_table(figures: dict[str, list[Figures]]) -> None:
    floor = figures["floor"]
    print(f"| | {' | '.join(figures)} |")
    print(f"|---|{'---|' * len(figures)}")
    for figure in floor[0]:
        cells = []
        for name, runs in figures.items():
            compared = name != "floor" and all(least[figure] for least in floor)
            ratio = f" (x{_ratio(runs, floor, figure):.2f})" if compared else ""
            cells.append(f"{_median(runs, figure):.3g}{ratio}")
        print(f"| {figure} | {' | '.join(cells)} |")


def _print_targets(figures: dict[str, list[Figures]]) -> int:
    floor, ours = figures["floor"], figures["ours"]
    checks = {
        f"{figure}: at most {factor} x the floor": _ratio(ours, floor, figure) <= factor
        for figure, factor in TARGETS.items()
    }
    rss = "RSS after the first answer, MB"
    checks[f"{rss}: at most {MAX_RSS_MB}"] = _median(ours, rss) <= MAX_RSS_MB
    checks["no error"] = all(run["of these failed"] == 0 for run in ours)
    print()
    for text, holds in checks.items():
        print(f"{'met   ' if holds else 'MISSED'} {text}")
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
