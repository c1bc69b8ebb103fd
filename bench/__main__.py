"""`make bench`: our app against the floor and against the usual way, in one interleaved run.

The floor makes the three HTTPS calls of a turn and nothing else, and appends a line for a
conversation; the usual way builds credential, clients and kernel in every request. All run on the
same functions host against the same Azure that costs nothing (bench/fake_azure.py), ours from the
package as it is deployed. That host calls the worker's library; Azure's sends it messages besides,
and what they cost (bench/apps/worker_channel.py) is added in a row of its own. Everything is
compiled before. What an app puts off until it has answered is waited for, as ours puts off the
exporters of its telemetry: it has a row of its own and is no part of a warm turn. The apps are
measured one after the other in every round: figures are medians over the rounds, and a ratio is
the median of the ratios to the floor of the same round, so that whatever else the machine does
weighs on both sides.
"""

import argparse
import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
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
from bench.deployed import blob_storage, unpack_package
from bench.judging import OtherWork, Target, judge

FULL_PYTHON = FULL_ENVIRONMENT / "bin" / "python"
FLOOR = App("floor", ROOT / "bench/apps/floor", FULL_PYTHON)
OURS, TELEMETRY_ON, ON_BLOB = "ours", "ours, telemetry on", "ours, Blob"
USUAL = App("usual way", ROOT / "bench/apps/tutorial", FULL_PYTHON)

COLD_CPU = "cold start to first answer, CPU s"
COLD_WALL = "cold start to first answer, wall s"
FIRST_RSS = "RSS after the first answer, MB"
AFTERWARDS_CPU = "after the first answer, once: CPU s"
WARM_CPU = "warm turn, CPU ms"
ON_AZURES_HOST = "warm turn on a host that sends messages, CPU ms"
WARM_WALL = "warm turn, wall ms"
GOING_CPU = "turn of a going conversation, CPU ms"
STATELESS_AT_ONCE = "100 stateless turns at once, s"
CONVERSATIONS_AT_ONCE = "100 new conversations at once, s"
FAILED = "of those at once failed"
LAST_RSS = "RSS after these, MB"

# What an app puts off until it has answered is done by then, where nothing tells that it is.
SETTLE_S = 3.0
EXPORTERS_TIMEOUT_S = 60
WARM_UP_TURNS = 30
WARM_TURNS = 300
CONVERSATIONS = 10
TURNS = 10
AT_ONCE = 100
QUESTION = {"input": "What time is it?"}

Figures = dict[str, float]


def main() -> int:
    """Measure, print the table, judge; see `judge` for the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    _install_full_environment()
    with tempfile.TemporaryDirectory() as folder, fake_azure(Path(folder)) as azure:
        kept = Path(folder, "kept")
        kept.mkdir()
        settings = {**azure, "CONVERSATIONS_URL": kept.as_uri()}
        with blob_storage(Path(folder), azure["SSL_CERT_FILE"]) as blob:
            apps = _apps(Path(folder), blob)
            _compile(apps)
            machine = OtherWork()
            figures = _rounds(apps, settings, rounds)
    _print_table(figures)
    print()
    return judge(_targets(figures), machine.cores())


def _apps(folder: Path, blob: Mapping[str, str]) -> tuple[App, ...]:
    app_dir, packages = unpack_package(folder)
    ours = App(OURS, app_dir, Path(sys.executable), packages=packages)
    telemetry_on = replace(ours, name=TELEMETRY_ON, telemetry=True)
    return FLOOR, ours, telemetry_on, replace(ours, name=ON_BLOB, settings=blob), USUAL


def _rounds(
    apps: tuple[App, ...], settings: Mapping[str, str], rounds: int
) -> dict[str, list[Figures]]:
    figures: dict[str, list[Figures]] = {app.name: [] for app in apps}
    for round_ in range(rounds + 1):
        messages_ms = _messages_ms()
        for app in apps:
            measured = _measure(app, settings, messages_ms)
            if round_:  # the first warms the file caches
                figures[app.name].append(measured)
        print(f"round {round_} of {rounds}", file=sys.stderr)
    return figures


def _messages_ms() -> float:
    """See bench/apps/worker_channel.py."""
    command = (FULL_PYTHON, ROOT / "bench/apps/worker_channel.py")
    told = subprocess.run(  # noqa: S603 - our own module
        command, check=True, capture_output=True, text=True, cwd=ROOT
    )
    return float(told.stdout)


def _install_full_environment() -> None:
    requirements, installed = ROOT / "bench/requirements.txt", FULL_ENVIRONMENT / "requirements.txt"
    if installed.exists() and installed.read_text() == requirements.read_text():
        return
    print("installing what the other two apps need, once ...", file=sys.stderr)
    uv = Path(sys.executable).with_name("uv")
    commands: tuple[list[str | Path], ...] = (
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, FULL_ENVIRONMENT],
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
    shutil.copy(requirements, installed)


def _compile(apps: tuple[App, ...]) -> None:
    """Compile all apps and what they import, as pip and a remote build do."""
    for app in apps:
        subprocess.run(  # noqa: S603 - our own interpreter
            [app.python, "-m", "compileall", "-q", app.folder],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    for python in {app.python for app in apps}:
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        packages = subprocess.run(  # noqa: S603 - our own interpreters
            [python, "-c", code], check=True, capture_output=True, text=True
        ).stdout.strip()
        subprocess.run(  # noqa: S603 - our own interpreters; some packages ship files for others
            [python, "-m", "compileall", "-q", packages, ROOT / "local"],
            check=False,
            stdout=subprocess.DEVNULL,
        )


def _measure(app: App, settings: Mapping[str, str], messages_ms: float) -> Figures:
    control = settings["AZURE_OPENAI_ENDPOINT"]
    with httpx2.Client(verify=settings["SSL_CERT_FILE"]) as azure:
        azure.post(f"{control}/delays", json={"model_s": 0, "pool_s": 0}).raise_for_status()
        sent = azure.get(f"{control}/calls").json()["telemetry"]
        began_s = time.monotonic()
        with running(app, settings) as process:
            first_answer(process)
            figures = {
                COLD_CPU: process.cpu_s(),
                COLD_WALL: time.monotonic() - began_s,
                FIRST_RSS: process.rss_mb(),
            }
            if app.telemetry:  # its exporters are there when they have sent the first spans
                _wait(lambda: azure.get(f"{control}/calls").json()["telemetry"] > sent)
            time.sleep(SETTLE_S)
            figures[AFTERWARDS_CPU] = process.cpu_s() - figures[COLD_CPU]
            before = azure.get(f"{control}/calls").json()
            figures |= asyncio.run(_warm(process))
            figures[ON_AZURES_HOST] = figures[WARM_CPU] + messages_ms
            after = azure.get(f"{control}/calls").json()
            turns = WARM_UP_TURNS + WARM_TURNS
            figures |= {f"calls a turn: {of}": (after[of] - before[of]) / turns for of in after}
            keeps_conversations = app is not USUAL
            if keeps_conversations:
                figures |= asyncio.run(_going(process))
            delays = {"model_s": 0.5, "pool_s": 0.3}
            azure.post(f"{control}/delays", json=delays).raise_for_status()
            figures |= asyncio.run(_at_once(process, STATELESS_AT_ONCE, QUESTION))
            if keeps_conversations:
                new = QUESTION | {"conversation_id": "new"}
                failed = figures[FAILED]
                figures |= asyncio.run(_at_once(process, CONVERSATIONS_AT_ONCE, new))
                figures[FAILED] += failed
            return figures


def _wait(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + EXPORTERS_TIMEOUT_S
    while not holds():
        if time.monotonic() > give_up:
            raise TimeoutError("no telemetry came")
        time.sleep(0.1)


async def _warm(process: RunningApp) -> Figures:
    async with httpx2.AsyncClient(timeout=60) as client:
        for _ in range(WARM_UP_TURNS):
            (await client.post(process.url, json=QUESTION)).raise_for_status()
        cpu_s, began_s = process.cpu_s(), time.monotonic()
        for _ in range(WARM_TURNS):
            (await client.post(process.url, json=QUESTION)).raise_for_status()
        return {
            WARM_CPU: (process.cpu_s() - cpu_s) / WARM_TURNS * 1e3,
            WARM_WALL: (time.monotonic() - began_s) / WARM_TURNS * 1e3,
        }


async def _going(process: RunningApp) -> Figures:
    """A turn of a conversation that has had at least one; the first conversation is a warm-up."""
    cpu_s = 0.0
    async with httpx2.AsyncClient(timeout=60) as client:
        for conversation in range(CONVERSATIONS + 1):
            conversation_id = "new"
            for turn in range(TURNS):
                before_s = process.cpu_s()
                body = QUESTION | {"conversation_id": conversation_id}
                reply = (await client.post(process.url, json=body)).raise_for_status()
                conversation_id = reply.json()["conversation_id"]
                if conversation and turn:
                    cpu_s += process.cpu_s() - before_s
    return {GOING_CPU: cpu_s / CONVERSATIONS / (TURNS - 1) * 1e3}


async def _at_once(process: RunningApp, figure: str, question: Mapping[str, str]) -> Figures:
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(timeout=120, limits=limits) as client:
        began_s = time.monotonic()
        replies = await asyncio.gather(
            *(client.post(process.url, json=question) for _ in range(AT_ONCE))
        )
        took_s = time.monotonic() - began_s
    failed = sum(not reply.is_success for reply in replies)
    return {figure: took_s, FAILED: failed, LAST_RSS: process.rss_mb()}


def _median(runs: list[Figures], figure: str) -> float:
    return statistics.median(run[figure] for run in runs)


def _ratio(runs: list[Figures], others: list[Figures], figure: str, of: str = "") -> float:
    """How many times the others' figure (`of`, or the same), in the middle one of the rounds."""
    pairs = zip(runs, others, strict=True)
    return statistics.median(run[figure] / other[of or figure] for run, other in pairs)


def _more(runs: list[Figures], others: list[Figures], figure: str) -> float:
    """How much more than the others, in the middle one of the rounds."""
    pairs = zip(runs, others, strict=True)
    return statistics.median(run[figure] - other[figure] for run, other in pairs)


def _print_table(figures: dict[str, list[Figures]]) -> None:
    floor = figures["floor"]
    print(f"| | {' | '.join(figures)} |")
    print(f"|---|{'---|' * len(figures)}")
    for figure in floor[0]:
        cells = []
        for name, runs in figures.items():
            if figure not in runs[0]:
                cells.append("")
                continue
            compared = name != "floor" and all(least[figure] for least in floor)
            compared &= figure != AFTERWARDS_CPU  # the floor puts nothing off
            ratio = f" (x{_ratio(runs, floor, figure):.2f})" if compared else ""
            cells.append(f"{_median(runs, figure):.3g}{ratio}")
        print(f"| {figure} | {' | '.join(cells)} |")


def _targets(figures: dict[str, list[Figures]]) -> list[Target]:
    floor, ours, blob = figures["floor"], figures[OURS], figures[ON_BLOB]
    on = figures[TELEMETRY_ON]
    to_floor = {COLD_CPU: 1.65, WARM_CPU: 2.0, STATELESS_AT_ONCE: 1.1, CONVERSATIONS_AT_ONCE: 1.1}
    failed = max(run[FAILED] for runs in (ours, on, blob) for run in runs)
    going = f"{GOING_CPU}, as a multiple of a stateless one"
    return [
        *(
            Target(f"{figure}, as a multiple of the floor", _ratio(ours, floor, figure), at_most)
            for figure, at_most in to_floor.items()
        ),
        Target(f"{going}, in a folder", _ratio(ours, ours, GOING_CPU, WARM_CPU), 1.5),
        Target(f"{going}, in Blob", _ratio(blob, blob, GOING_CPU, WARM_CPU), 1.5),
        Target(FIRST_RSS, _median(ours, FIRST_RSS), 95),
        Target(f"telemetry on: {COLD_CPU}, as a multiple of off", _ratio(on, ours, COLD_CPU), 1.02),
        Target(f"telemetry on: more {WARM_CPU}", _more(on, ours, WARM_CPU), 0.25),
        Target(f"telemetry on: more {LAST_RSS}", _more(on, ours, LAST_RSS), 12),
        Target(FAILED, failed, 0),
    ]


if __name__ == "__main__":
    sys.exit(main())
