"""`python -m bench.streaming`: what a caller waits for, and what a stream costs the worker.

Our app alone, on the same functions host and against the same Azure that costs nothing as
`python -m bench`. One stream is one turn with one execution, as AG-UI events.
"""

import asyncio
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx2

from bench.app_process import ROOT, App, RunningApp, fake_azure, first_answer, running
from bench.judging import OtherWork, Target, judge

APP = App("ours", ROOT, Path(sys.executable))
QUESTION = {"input": "What time is it?"}
EVENTS = {"accept": "text/event-stream"}
FIRST_EVENTS = 50
WORDS = 20_000
AT_ONCE = 50
MODEL_S, POOL_S = 0.5, 0.3
UNFINISHED = "of these not finished"


@dataclass(frozen=True, slots=True)
class Stream:
    """What a caller saw of one stream.

    Attributes:
        first_s: from the request to the first event.
        whole_s: to the end.
        events: how many.
        finished: whether it ended with the turn's answer.
    """

    first_s: float
    whole_s: float
    events: int
    finished: bool


def main() -> int:
    """Measure and print the table; see `judge` for the exit code."""
    machine = OtherWork()
    with tempfile.TemporaryDirectory() as folder, fake_azure(Path(folder)) as settings:
        control = Control(settings)
        with running(APP, settings) as app:
            first_answer(app)
            rows = asyncio.run(_measure(app, control))
    print("| | |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value} |")
    unfinished = Target(f"{AT_ONCE} streams: {UNFINISHED}", float(rows[UNFINISHED]), 0)
    return judge([unfinished], machine.cores())


class Control:
    """Sets what the Azure that costs nothing does."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._url = f"{settings['AZURE_OPENAI_ENDPOINT']}/delays"
        self._certificate = settings["SSL_CERT_FILE"]

    def set(self, **what: float) -> None:
        """Delays in seconds, and how many words the model says."""
        httpx2.post(self._url, json=what, verify=self._certificate).raise_for_status()


async def _measure(app: RunningApp, control: Control) -> dict[str, str]:
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(timeout=120, limits=limits) as client:
        await asyncio.to_thread(control.set, model_s=0, pool_s=0)
        await _stream(client, app)

        await asyncio.to_thread(control.set, model_s=0.05, pool_s=0)
        firsts_ms = [(await _stream(client, app)).first_s * 1e3 for _ in range(FIRST_EVENTS)]

        await asyncio.to_thread(control.set, model_s=0, pool_s=0, words=WORDS)
        cpu_s = app.cpu_s()
        long = await _stream(client, app)
        event_cpu_us = (app.cpu_s() - cpu_s) / long.events * 1e6

        await asyncio.to_thread(control.set, model_s=MODEL_S, pool_s=POOL_S)
        began_s = time.monotonic()
        many = await asyncio.gather(*(_stream(client, app) for _ in range(AT_ONCE)))
        took_s = time.monotonic() - began_s
    least_s = 2 * MODEL_S + POOL_S
    return {
        "first event, warm, median ms": f"{statistics.median(firsts_ms):.1f}",
        "first event, warm, 95 of 100 within ms": f"{_within(firsts_ms, 0.95):.1f}",
        f"events per second of one stream of {long.events:,}": f"{long.events / long.whole_s:,.0f}",
        "CPU us per event": f"{event_cpu_us:.0f}",
        f"{AT_ONCE} streams at once, s (none can be faster than {least_s})": f"{took_s:.2f}",
        "their first event, slowest, ms": f"{max(s.first_s for s in many) * 1e3:.0f}",
        UNFINISHED: str(sum(not s.finished for s in many)),
        "RSS after these, MB": f"{app.rss_mb():.0f}",
    }


async def _stream(client: httpx2.AsyncClient, app: RunningApp) -> Stream:
    began_s = time.monotonic()
    first_s, content = 0.0, bytearray()
    async with client.stream("POST", app.url, json=QUESTION, headers=EVENTS) as response:
        response.raise_for_status()
        async for part in response.aiter_raw():
            first_s = first_s or time.monotonic() - began_s
            content += part
    whole_s = time.monotonic() - began_s
    return Stream(first_s, whole_s, content.count(b"\n\n"), b'"RUN_FINISHED"' in content)


def _within(values: list[float], share: float) -> float:
    return sorted(values)[math.ceil(len(values) * share) - 1]


if __name__ == "__main__":
    sys.exit(main())
