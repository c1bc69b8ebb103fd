"""`python -m bench.conversations`: what a conversation costs as it grows, what many turns leave.

Ten turns of a conversation, each with a tool call, its history kept in a folder; then thousands of
turns without memory, whose growth is compared with that of the floor app on the same host: there
the worker library keeps 2.1 KB per request, here it is made to let go of them.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

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
from bench.judging import OtherWork, Target, judge

OURS = App("ours", ROOT, Path(sys.executable))
FLOOR = App("floor", ROOT / "bench/apps/floor", FULL_PYTHON)
TURNS = 10
QUESTION = "What time is it?"


def main() -> int:
    """Measure, print, judge; see `judge` for the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.conversations")
    parser.add_argument("--conversations", type=int, default=40)
    parser.add_argument("--turns", type=int, default=5000, help="for the growth of memory")
    arguments = parser.parse_args()
    install_full_environment()
    machine = OtherWork()
    with tempfile.TemporaryDirectory() as folder, fake_azure(Path(folder)) as azure:
        settings = {**azure, "CONVERSATIONS_URL": Path(folder).joinpath("kept").as_uri()}
        costs = asyncio.run(_growing_conversation(settings, arguments.conversations))
        ours = asyncio.run(_growth_kb(OURS, settings, arguments.turns))
        floor = asyncio.run(_growth_kb(FLOOR, settings, arguments.turns))
    print("| turn of a conversation | " + " | ".join(map(str, range(1, TURNS + 1))) + " |")
    print("|---|" + "---|" * TURNS)
    print("| CPU ms | " + " | ".join(f"{cost:.1f}" for cost in costs) + " |")
    print(
        f"\nmemory per turn over {arguments.turns} turns, KB: ours {ours:.2f}, floor {floor:.2f}\n"
    )
    targets = [
        # The text sent in turn 10 is over three times that of turn 1.
        Target(f"turn {TURNS}, as a multiple of turn 1", costs[-1] / costs[0], 3),
        Target("memory grows per turn, KB more than the floor app's", ours - floor, 0.5),
    ]
    return judge(targets, machine.cores())


async def _growing_conversation(settings: Mapping[str, str], conversations: int) -> list[float]:
    """CPU ms of turn 1 to 10, the median over the conversations in batches of ten."""
    with running(OURS, settings) as process:
        first_answer(process)
        samples: list[list[float]] = [[] for _ in range(TURNS)]
        async with httpx2.AsyncClient(timeout=60) as client:
            for _ in range(max(1, conversations // 10)):
                ids = ["new"] * 10
                for turn in range(TURNS):
                    cpu_s = process.cpu_s()
                    ids = [await _ask(client, process, id_) for id_ in ids]
                    samples[turn].append((process.cpu_s() - cpu_s) / len(ids) * 1e3)
    return [statistics.median(of_turn) for of_turn in samples]


async def _ask(client: httpx2.AsyncClient, process: RunningApp, conversation_id: str) -> str:
    body = {"input": QUESTION, "conversation_id": conversation_id}
    reply = await client.post(process.url, json=body)
    reply.raise_for_status()
    return str(reply.json()["conversation_id"])


async def _growth_kb(app: App, settings: Mapping[str, str], turns: int) -> float:
    with running(app, settings) as process:
        first_answer(process)
        async with httpx2.AsyncClient(timeout=60) as client:

            async def run(count: int) -> None:
                for _ in range(count):
                    (await client.post(process.url, json={"input": QUESTION})).raise_for_status()

            await run(500)  # until caches and pools have their size
            before_mb = process.rss_mb()
            await run(turns)
            return (process.rss_mb() - before_mb) * 1024 / turns


if __name__ == "__main__":
    sys.exit(main())
