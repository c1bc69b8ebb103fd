"""`python -m bench.pressure`: does one caller hold up the others, and what do many take in memory?

Our app from this folder, with a watchdog on its event loop (bench/watched_host.py), under what
callers can do: many streams at once, uploads as large as they may be, conversations with long
histories, documents of many figures.
"""

import argparse
import asyncio
import json
import math
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import httpx2

from agent.conversations.folder.store import FolderStore
from agent.conversations.owner import ANONYMOUS
from agent.conversations.records import Turn
from agent.events import Execution, Usage
from agent.messages import Message, ToolCall
from bench.app_process import ROOT, App, RunningApp, fake_azure, first_answer, running
from bench.judging import OtherWork, Target, judge
from bench.streaming import Control
from bench.watched_host import LOOP_LAG_FILE

MEGABYTE = 1024**2
STREAMS = 50
WORDS = 1_000
UPLOADS = 2
UPLOAD_BYTES = 128 * MEGABYTE
HISTORIES = 50
SENDERS = 50
HISTORY_BYTES = 16 * MEGABYTE
FIGURES = 100
FIGURE_BYTES = 100_000
# What the model reads of a conversation at most, by an app setting; and what a client may send of
# one: characters of four bytes, in as many messages.
READ_CHARS = 4_000_000
SENT_CHARS = 3_900_000
SENT_MESSAGES = 39
HELD_MAX_MS = 200
MEMORY_MAX_MB = 600
QUESTION = {"input": "What time is it?"}
EVENTS = {"accept": "text/event-stream"}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the watchdog saw of one scenario, and the most memory until its end.

    Attributes:
        p999_ms: the loop was late by less, in 999 of 1,000 cases.
        longest_ms: the longest time that it was held,
        worked_ms: and of these the most CPU that it took: what a quiet machine would show.
        peak_mb: resident memory.
        held: by what, for each time that was too long.
    """

    p999_ms: float
    longest_ms: float
    worked_ms: float
    peak_mb: float
    held: list[list[str]]


@dataclass(frozen=True, slots=True)
class Histories:
    """Ids of conversations with histories of HISTORY_BYTES.

    Attributes:
        printed: most of each is what code printed, which the model does not read again.
        said: most of each is what was said, which it reads.
    """

    printed: list[str]
    said: list[str]


@dataclass(frozen=True, slots=True)
class Scene:
    """A running app, and what to put it under pressure with."""

    app: RunningApp
    client: httpx2.AsyncClient
    control: Control
    report: Path
    histories: "Histories"

    async def delays(self, **what: float) -> None:
        """See Control.set."""
        await asyncio.to_thread(self.control.set, **what)

    async def seen(self) -> Seen:
        """What the watchdog saw since it was asked last."""
        self.report.unlink(missing_ok=True)
        self.app.process.send_signal(signal.SIGUSR1)
        while not self.report.exists():  # noqa: ASYNC110 - the host answers the signal with a file, and nobody tells when it is there
            await asyncio.sleep(0.02)
        told = json.loads(self.report.read_text())
        lags = sorted(told["lags_ms"])
        p999_ms = lags[math.ceil(len(lags) * 0.999) - 1]
        return Seen(p999_ms, lags[-1], max(told["worked_ms"]), self.app.peak_rss_mb(), told["held"])


async def streams(scene: Scene) -> None:
    """Many streams of many words."""
    await scene.delays(model_s=0.2, pool_s=0.1, words=WORDS)
    await asyncio.gather(*(_stream(scene, QUESTION) for _ in range(STREAMS)))


async def uploads(scene: Scene) -> None:
    """Files as large as they may be, each to a conversation."""
    await asyncio.gather(*(_upload(scene) for _ in range(UPLOADS)))


async def turns(scene: Scene) -> None:
    """A turn of each of many conversations with long histories."""
    await scene.delays(model_s=0.2, pool_s=0.1)
    await asyncio.gather(
        *(_ask(scene, QUESTION | {"conversation_id": id_}) for id_ in scene.histories.printed)
    )


async def rereading(scene: Scene) -> None:
    """A turn of each of many conversations, whose model reads all that it may."""
    await scene.delays(model_s=0.2, pool_s=0.1)
    await asyncio.gather(
        *(_ask(scene, QUESTION | {"conversation_id": id_}) for id_ in scene.histories.said)
    )


async def senders(scene: Scene) -> None:
    """Clients that send their conversations themselves, in both protocols."""
    await scene.delays(model_s=0.2, pool_s=0.1)
    said = "\N{SLIGHTLY SMILING FACE}" * (SENT_CHARS // SENT_MESSAGES)
    before = [{"role": "assistant", "content": said}] * SENT_MESSAGES
    messages = [*before, {"role": "user", "content": QUESTION["input"]}]
    run = {"threadId": "t", "runId": "r", "tools": [], "context": []}
    numbered = [{"id": str(n), **message} for n, message in enumerate(messages)]
    bodies = {
        "/agui": run | {"state": {}, "forwardedProps": {}, "messages": numbered},
        "/v1/chat/completions": {"model": "fake", "messages": messages},
    }
    sent = {path: json.dumps(body, ensure_ascii=False).encode() for path, body in bodies.items()}
    await asyncio.gather(
        *(_send(scene, path, sent[path]) for _ in range(SENDERS // len(sent)) for path in sent)
    )


async def readers(scene: Scene) -> None:
    """The histories themselves."""
    await asyncio.gather(*(_get(scene, id_) for id_ in scene.histories.printed))


async def figures(scene: Scene) -> None:
    """Cells that show many figures: kept, in an answer and as events."""
    await scene.delays(model_s=0, pool_s=0, figures=FIGURES, figure_bytes=FIGURE_BYTES)
    new = QUESTION | {"conversation_id": "new"}
    await asyncio.gather(_ask(scene, new), _ask(scene, QUESTION), _stream(scene, QUESTION))


SCENARIOS: Mapping[str, Callable[[Scene], Awaitable[None]]] = {
    f"{STREAMS} streams at once": streams,
    f"{UPLOADS} uploads of {UPLOAD_BYTES // MEGABYTE} MB": uploads,
    f"turns of {HISTORIES} conversations with {HISTORY_BYTES // MEGABYTE} MB": turns,
    f"{HISTORIES} turns that read {READ_CHARS:,} characters again": rereading,
    f"{SENDERS} clients that send {4 * SENT_CHARS // MEGABYTE} MB": senders,
    f"{HISTORIES} histories of {HISTORY_BYTES // MEGABYTE} MB read": readers,
    f"3 documents of {FIGURES} figures": figures,
}


def main() -> int:
    """Measure and judge; see `judge` for the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.pressure")
    parser.add_argument("--only", default="", help="scenarios whose names have this")
    parser.add_argument("--stacks", action="store_true", help="show what held the loop too long")
    options = parser.parse_args()
    machine = OtherWork()
    with tempfile.TemporaryDirectory() as folder:
        rows = _measure(Path(folder), options.only)
    print(
        "| | loop late by, 999 of 1,000 times, ms | longest, ms | its CPU, ms | RSS at most, MB |"
    )
    print("|---|---|---|---|---|")
    for name, seen in rows.items():
        print(
            f"| {name} | {seen.p999_ms:.0f} | {seen.longest_ms:.0f} | "
            f"{seen.worked_ms:.0f} | {seen.peak_mb:.0f} |"
        )
        for held in seen.held if options.stacks else []:
            print("\n  ".join(held), file=sys.stderr)
    print()
    delays = [
        Target(f"{name}: loop held, ms", seen.longest_ms, HELD_MAX_MS)
        for name, seen in rows.items()
    ]
    memory = [
        Target(f"{name}: RSS at most, MB", seen.peak_mb, MEMORY_MAX_MB)
        for name, seen in rows.items()
    ]
    return judge([*delays, *memory], machine.cores())


def _measure(folder: Path, only: str) -> dict[str, Seen]:
    kept, report = folder / "kept", folder / "lags.json"
    histories = Histories(
        asyncio.run(_long_histories(kept, _turn_that_printed())),
        asyncio.run(_long_histories(kept, _turn_that_said())),
    )
    with fake_azure(folder) as azure:
        settings = {
            "CONVERSATIONS_URL": kept.as_uri(),
            "CONVERSATION_MAX_CHARS": str(READ_CHARS),
            "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": str(150 * MEGABYTE),
            LOOP_LAG_FILE: str(report),
        }
        app = App("ours", ROOT, Path(sys.executable), module="bench.watched_host")
        rows = {}
        for name, scenario in SCENARIOS.items():
            if only not in name:
                continue
            # Each in a process of its own: memory that it took would count for the next.
            with running(app, {**azure, **settings}) as process:
                first_answer(process)
                rows[name] = asyncio.run(
                    _play(scenario, process, Control(azure), report, histories)
                )
                print(name, file=sys.stderr)
    return rows


async def _play(
    scenario: Callable[[Scene], Awaitable[None]],
    app: RunningApp,
    control: Control,
    report: Path,
    histories: Histories,
) -> Seen:
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(timeout=300, limits=limits) as client:
        scene = Scene(app, client, control, report, histories)
        await _ask(scene, QUESTION | {"conversation_id": "new"})  # what is imported when it is used
        await scene.seen()
        await scenario(scene)
        return await scene.seen()


async def _ask(scene: Scene, body: Mapping[str, str]) -> None:
    await _send(scene, "/chat", json.dumps(body).encode())


async def _send(scene: Scene, path: str, body: bytes) -> None:
    """Ask, and come again where the app has no memory left and says when it will have some."""
    url = scene.app.url.removesuffix("/chat") + path
    while True:
        answer = await scene.client.post(
            url, content=body, headers={"content-type": "application/json"}
        )
        if answer.status_code != httpx2.codes.SERVICE_UNAVAILABLE:
            answer.raise_for_status()
            return
        await asyncio.sleep(int(answer.headers["retry-after"]))


async def _stream(scene: Scene, body: Mapping[str, str]) -> None:
    async with scene.client.stream("POST", scene.app.url, json=body, headers=EVENTS) as answer:
        answer.raise_for_status()
        async for _ in answer.aiter_raw():
            pass


async def _get(scene: Scene, conversation_id: str) -> None:
    url = scene.app.url.replace("/chat", f"/conversations/{conversation_id}")
    async with scene.client.stream("GET", url) as answer:
        answer.raise_for_status()
        async for _ in answer.aiter_raw():
            pass


async def _upload(scene: Scene) -> None:
    reply = await scene.client.post(scene.app.url, json=QUESTION | {"conversation_id": "new"})
    url = scene.app.url.replace("/chat", f"/conversations/{reply.json()['conversation_id']}/files")
    head = (
        b"--edge\r\nContent-Disposition: form-data; name=file; filename=large.bin\r\n"
        b"Content-Type: application/octet-stream\r\n\r\n"
    )
    tail = b"\r\n--edge--\r\n"

    async def form() -> AsyncIterator[bytes]:
        yield head
        for _ in range(UPLOAD_BYTES // MEGABYTE):
            yield bytes(MEGABYTE)
        yield tail

    headers = {
        "content-type": "multipart/form-data; boundary=edge",
        "content-length": str(len(head) + UPLOAD_BYTES + len(tail)),
    }
    (await scene.client.post(url, content=form(), headers=headers)).raise_for_status()


async def _long_histories(root: Path, turn: Turn) -> list[str]:
    """Conversations whose histories have HISTORY_BYTES each; their ids."""
    store = FolderStore(root)
    async with store.start(ANONYMOUS) as held:
        while (root / ANONYMOUS.folder).exists() and _history(root, held.conversation.id) < (
            HISTORY_BYTES
        ):
            await held.append(turn)
    first = root / ANONYMOUS.folder / held.conversation.id
    ids = [secrets.token_hex(16) for _ in range(HISTORIES - 1)]
    for id_ in ids:
        shutil.copytree(first, first.with_name(id_))
    return [held.conversation.id, *ids]


def _history(root: Path, conversation_id: str) -> int:
    file = root / ANONYMOUS.folder / conversation_id / "turns.jsonl"
    return file.stat().st_size if file.exists() else 0


def _turn_that_said() -> Turn:
    """A turn of many words, all of which the model reads again."""
    said = "It is what it was. " * 10_000
    turn = _turn_that_printed()
    return replace(
        turn,
        messages=(Message("user", turn.input), Message("assistant", said)),
        output="Numbers.",
        executions=(),
    )


def _turn_that_printed() -> Turn:
    """A turn whose code printed much: the caller has all of it, the model read the ends."""
    code = "print(table)"
    printed = "".join(f"{row};{row * 7919 % 1000};{row * row}\n" for row in range(28_000))
    return Turn(
        messages=(
            Message("user", "What is in the table?"),
            Message("assistant", "", (ToolCall("call-1", "execute_python", json.dumps(code)),)),
            Message("tool", printed[:16_000], tool_call_id="call-1"),
            Message("assistant", "Numbers."),
        ),
        input="What is in the table?",
        output="Numbers.",
        executions=(Execution(code, "Succeeded", printed, "", None, 12),),
        files=(),
        finish_reason="stop",
        usage=Usage(),
        asked_at=datetime.now(UTC),
        session_guid="guid",
    )


if __name__ == "__main__":
    sys.exit(main())
