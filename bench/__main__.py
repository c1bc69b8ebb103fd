"""`make bench`: our app against the floor and against the usual way, in one interleaved run.

The floor makes the three HTTPS calls of a turn and nothing else, and appends a line for a
conversation; the usual way builds credential, clients and kernel in every request. All run on the
same functions host against the same Azure that costs nothing (bench/fake_azure.py), ours from the
package as it is deployed. That host calls the worker's library; Azure's sends it messages besides,
and what they cost (bench/apps/worker_channel.py) is added in a row of its own. Everything is
compiled before. What an app puts off until it has answered is waited for, as ours puts off the
exporters of its telemetry: it has a row of its own and is no part of a warm turn.

Such a machine is faster in one minute than in another. So in every round all apps run side by side
and are asked in turn, each a little at a time; what is compared was measured within seconds.
Figures are medians over the rounds, and a ratio is the median of the ratios within a round.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import httpx2

from bench.app_process import (
    FULL_PYTHON,
    ROOT,
    App,
    RunningApp,
    fake_azure,
    first_answer,
    install_full_environment,
    running,
)
from bench.deployed import blob_storage, unpack_package
from bench.judging import OtherWork, Target, judge

FLOOR = App("floor", ROOT / "bench/apps/floor", FULL_PYTHON)
OURS, TELEMETRY_ON, ON_BLOB = "ours", "ours, telemetry on", "ours, Blob"
USUAL = App("usual way", ROOT / "bench/apps/tutorial", FULL_PYTHON)

COLD_CPU = "cold start to first answer, CPU s"
COLD_WALL = "cold start to first answer, wall s"
FIRST_RSS = "RSS after the first answer, MB"
AFTERWARDS_CPU = "after the first answer, once: CPU s"
WARM_CPU = "warm turn, CPU ms"
ON_AZURES_HOST = "warm turn on a host that sends messages, CPU ms"
WITH_BETWEEN_CPU = "warm turn and what is done between turns, CPU ms"
WARM_WALL = "warm turn, wall ms"
WAITING_CPU = "warm turn, services that take 10 ms, CPU ms"
GOING_CPU = "turn of a going conversation, services that take 10 ms, CPU ms"
STATELESS_AT_ONCE = "100 stateless turns at once, s"
CONVERSATIONS_AT_ONCE = "100 new conversations at once, s"
FAILED = "of those at once failed"
LAST_RSS = "RSS after these, MB"

# What an app puts off until it has answered is done by then, where nothing tells that it is.
SETTLE_S = 3.0
EXPORTERS_TIMEOUT_S = 60
COLD_STARTS = 3
BLOCKS = 6
# They find connections that have ended meanwhile.
BLOCK_FIRST_TURNS = 5
BLOCK_TURNS = 50
# A conversation and as many stateless turns.
TURNS = 10
# Of a call of the model and of the pool. Whoever has waited finds the processor's caches cold, so
# that the same instructions take up to twice as long: a store that has to be waited for compares
# only with services that have to be, as all have on Azure.
WAIT_S = 0.01
AT_ONCE = 100
QUESTION = {"input": "What time is it?"}

Figures = dict[str, float]


def main() -> int:
    """Measure, print the table, judge; see `judge` for the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    install_full_environment()
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
        measured = _round(apps, settings, _messages_ms())
        if round_:  # the first warms the file caches
            for each in measured:
                figures[each.app.name].append(each.figures)
        print(f"round {round_} of {rounds}", file=sys.stderr)
    return figures


def _messages_ms() -> float:
    """See bench/apps/worker_channel.py."""
    command = (FULL_PYTHON, ROOT / "bench/apps/worker_channel.py")
    told = subprocess.run(  # noqa: S603 - a file of this repository with our own interpreter; nothing comes from outside
        command, check=True, capture_output=True, text=True, cwd=ROOT
    )
    return float(told.stdout)


def _compile(apps: tuple[App, ...]) -> None:
    """Compile all apps and what they import, as pip and a remote build do."""
    for app in apps:
        subprocess.run(  # noqa: S603 - compileall over an app of bench/apps or the repository, by the interpreter that will run it
            [app.python, "-m", "compileall", "-q", app.folder],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    for python in {app.python for app in apps}:
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        packages = subprocess.run(  # noqa: S603 - the line of code above, by each interpreter that an app runs on
            [python, "-c", code], check=True, capture_output=True, text=True
        ).stdout.strip()
        subprocess.run(  # noqa: S603 - over the folder that this interpreter has just named; unchecked, as packages ship files for other Pythons
            [python, "-m", "compileall", "-q", packages, ROOT / "local"],
            check=False,
            stdout=subprocess.DEVNULL,
        )


@dataclass
class _Spent:
    """What the warm turns of an app took.

    Attributes:
        cpu_s: of stateless turns.
        wall_s: of the same.
        with_between_s: CPU of the same, of the first turns of each block, and of whatever the app
            did while others were asked such turns.
        waiting_s: CPU of stateless turns whose services take WAIT_S.
        going_s: CPU of such turns of conversations that had had at least one.
        calls: of stateless turns, by what was called.
    """

    cpu_s: float = 0
    wall_s: float = 0
    with_between_s: float = 0
    waiting_s: float = 0
    going_s: float = 0
    calls: Counter[str] = field(default_factory=Counter)


@dataclass
class _Measured:
    """An app that runs, and its figures of this round."""

    app: App
    process: RunningApp
    figures: Figures
    spent: _Spent = field(default_factory=_Spent)

    @property
    def keeps_conversations(self) -> bool:
        """Whether it has any."""
        return self.app is not USUAL


class _Azure:
    """The Azure that costs nothing, as the benchmark sets and reads it."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._client = httpx2.Client(
            base_url=settings["AZURE_OPENAI_ENDPOINT"], verify=settings["SSL_CERT_FILE"]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def calls(self) -> Counter[str]:
        """How many there were, by what was called."""
        return Counter(self._client.get("/calls").raise_for_status().json())

    def wait_before_answers(self, model_s: float, pool_s: float) -> None:
        """Have each call of the model and of the pool take so long."""
        delays = {"model_s": model_s, "pool_s": pool_s}
        self._client.post("/delays", json=delays).raise_for_status()


def _round(
    apps: Sequence[App], settings: Mapping[str, str], messages_ms: float
) -> Sequence[_Measured]:
    with ExitStack() as stack, _Azure(settings) as azure:
        azure.wait_before_answers(0, 0)
        starts: list[Sequence[_Measured]] = []
        for _ in range(COLD_STARTS):
            stack.close()
            sent = azure.calls()["telemetry"]
            starts.append([_start(app, settings, stack) for app in apps])
        measured = starts[-1]
        _settle(measured, lambda: azure.calls()["telemetry"] > sent)
        for each, *same in zip(measured, *starts, strict=True):
            each.figures |= {
                name: _median([start.figures for start in same], name)
                for name in (COLD_CPU, COLD_WALL, FIRST_RSS)
            }
        asyncio.run(_warm(measured, azure, messages_ms))
        azure.wait_before_answers(0.5, 0.3)
        for each in measured:
            each.figures |= asyncio.run(_at_once(each.process, STATELESS_AT_ONCE, QUESTION))
        for each in measured:
            if each.keeps_conversations:
                new = QUESTION | {"conversation_id": "new"}
                failed = each.figures[FAILED]
                each.figures |= asyncio.run(_at_once(each.process, CONVERSATIONS_AT_ONCE, new))
                each.figures[FAILED] += failed
    return measured


def _start(app: App, settings: Mapping[str, str], stack: ExitStack) -> _Measured:
    """Start the app and have its first answer; it runs until the stack is closed."""
    began_s = time.monotonic()
    process = stack.enter_context(running(app, settings))
    first_answer(process)
    figures = {
        COLD_CPU: process.cpu_s(),
        COLD_WALL: time.monotonic() - began_s,
        FIRST_RSS: process.rss_mb(),
    }
    return _Measured(app, process, figures)


def _settle(measured: Sequence[_Measured], telemetry_came: Callable[[], bool]) -> None:
    """Wait until the apps have done what they put off until they have answered."""
    # The exporters are there when they have sent the first spans.
    give_up = time.monotonic() + EXPORTERS_TIMEOUT_S
    while not telemetry_came():
        if time.monotonic() > give_up:
            raise TimeoutError("no telemetry came")
        time.sleep(0.1)
    time.sleep(SETTLE_S)
    for each in measured:
        each.figures[AFTERWARDS_CPU] = each.process.cpu_s() - each.figures[COLD_CPU]


async def _warm(measured: Sequence[_Measured], azure: _Azure, messages_ms: float) -> None:
    for block in range(BLOCKS + 1):
        before_s, sent = [each.process.cpu_s() for each in measured], azure.calls()["telemetry"]
        for each in measured[:: -1 if block % 2 else 1]:
            await _ask(each, azure)
        sent = azure.calls()["telemetry"] - sent
        for each, cpu_s in zip(measured, before_s, strict=True):
            each.spent.with_between_s += each.process.cpu_s() - cpu_s
            # It is sent at any time.
            each.spent.calls["telemetry"] += sent if each.app.telemetry else 0
        azure.wait_before_answers(WAIT_S, WAIT_S)
        for each in measured:
            if each.keeps_conversations:
                each.spent.waiting_s += await _converse(each, None)
                each.spent.going_s += await _converse(each, "new")
        azure.wait_before_answers(0, 0)
        if not block:  # a warm-up
            for each in measured:
                each.spent = _Spent()
    turns = BLOCKS * BLOCK_TURNS
    all_turns = turns + BLOCKS * BLOCK_FIRST_TURNS
    going = BLOCKS * (TURNS - 1)
    for each in measured:
        each.figures |= {
            WARM_CPU: each.spent.cpu_s / turns * 1e3,
            WITH_BETWEEN_CPU: each.spent.with_between_s / all_turns * 1e3,
            ON_AZURES_HOST: each.spent.cpu_s / turns * 1e3 + messages_ms,
            WARM_WALL: each.spent.wall_s / turns * 1e3,
            **{f"calls a turn: {of}": n / turns for of, n in each.spent.calls.items()},
        }
        if each.keeps_conversations:
            each.figures |= {
                WAITING_CPU: each.spent.waiting_s / going * 1e3,
                GOING_CPU: each.spent.going_s / going * 1e3,
            }


async def _ask(each: _Measured, azure: _Azure) -> None:
    """Ask stateless questions."""
    async with httpx2.AsyncClient(timeout=60) as client:

        async def ask(turns: int) -> None:
            for _ in range(turns):
                (await client.post(each.process.url, json=QUESTION)).raise_for_status()

        await ask(BLOCK_FIRST_TURNS)
        calls, cpu_s, began_s = azure.calls(), each.process.cpu_s(), time.monotonic()
        await ask(BLOCK_TURNS)
        each.spent.cpu_s += each.process.cpu_s() - cpu_s
        each.spent.wall_s += time.monotonic() - began_s
        for of, count in azure.calls().items():
            each.spent.calls[of] += count - calls[of] if of != "telemetry" else 0


async def _converse(each: _Measured, conversation_id: str | None) -> float:
    """Ask some questions, of a conversation if there is one; CPU s of all but the first."""
    cpu_s = 0.0
    async with httpx2.AsyncClient(timeout=60) as client:
        for turn in range(TURNS):
            before_s = each.process.cpu_s()
            body = QUESTION | ({"conversation_id": conversation_id} if conversation_id else {})
            reply = (await client.post(each.process.url, json=body)).raise_for_status()
            conversation_id = conversation_id and reply.json()["conversation_id"]
            if turn:
                cpu_s += each.process.cpu_s() - before_s
    return cpu_s


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
        Target(f"{going}, in a folder", _ratio(ours, ours, GOING_CPU, WAITING_CPU), 1.5),
        Target(f"{going}, in Blob", _ratio(blob, blob, GOING_CPU, WAITING_CPU), 1.5),
        Target(FIRST_RSS, _median(ours, FIRST_RSS), 95),
        Target(f"telemetry on: {COLD_CPU}, as a multiple of off", _ratio(on, ours, COLD_CPU), 1.02),
        # What it sends at any time included; what any app does between turns is in both.
        Target(f"telemetry on: more {WARM_CPU}", _more(on, ours, WITH_BETWEEN_CPU), 0.25),
        Target(f"telemetry on: more {LAST_RSS}", _more(on, ours, LAST_RSS), 12),
        Target(FAILED, failed, 0),
    ]


if __name__ == "__main__":
    sys.exit(main())
