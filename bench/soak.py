"""`python -m bench.soak`: what 20,000 requests leave in memory.

Turns, of conversations too, events, OpenAI's completions, long ones too, lists, probes and requests
that are refused, ten at a time, against the fake Azure. The worker library keeps 2.2 KB of each
request by itself (agent/http/worker_references.py): 44 MB would be the price.
"""

import argparse
import asyncio
import itertools
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx2

from bench.app_process import ROOT, App, RunningApp, fake_azure, first_answer, running
from bench.judging import OtherWork, Target, judge

OURS = App("ours", ROOT, Path(sys.executable))
REQUESTS = 20_000
WARM_UP = 2_000
GROWTH_MAX_MB = 5
AT_ONCE = 10
_QUESTION = {"input": "What time is it?"}
_MESSAGES = [{"role": "user", "content": "What time is it?"}]


def main() -> int:
    """Measure, print, judge; see `judge` for the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak")
    parser.add_argument("--requests", type=int, default=REQUESTS)
    requests = parser.parse_args().requests
    machine = OtherWork()
    with tempfile.TemporaryDirectory() as folder, fake_azure(Path(folder)) as azure:
        settings = {**azure, "CONVERSATIONS_URL": Path(folder).joinpath("kept").as_uri()}
        with running(OURS, settings) as app:
            first_answer(app)
            before_mb, after_mb = asyncio.run(_soak(app, requests))
    print("| | before | after |\n|---|---|---|")
    print(f"| RSS over {requests:,} requests, MB | {before_mb:.1f} | {after_mb:.1f} |\n")
    grown = Target(f"{requests:,} requests grow it, MB", after_mb - before_mb, GROWTH_MAX_MB)
    return judge([grown], machine.cores())


async def _soak(app: RunningApp, requests: int) -> tuple[float, float]:
    """Resident memory in MB when caches and pools have their size, and after the requests."""
    url = app.url.removesuffix("/chat")
    async with httpx2.AsyncClient(base_url=url, timeout=60) as client:
        model = (await client.get("/v1/models")).json()["data"][0]["id"]
        kinds = itertools.cycle(_kinds(model))

        async def run(count: int) -> None:
            for _ in range(0, count, AT_ONCE):
                asked = (next(kinds) for _ in range(AT_ONCE))
                for answer in await asyncio.gather(*(_ask(client, *kind) for kind in asked)):
                    if answer.status_code >= 500:
                        raise RuntimeError(answer.text)

        await run(WARM_UP)
        before_mb = app.rss_mb()
        await run(requests)
        return before_mb, app.rss_mb()


def _kinds(model: str) -> Iterator[tuple[str, str, object, str]]:
    """Method, path, body and Accept of each kind of request."""
    yield "POST", "/chat", _QUESTION, "application/json"
    yield "POST", "/chat", _QUESTION, "text/event-stream"
    completion = {"model": model, "messages": _MESSAGES}
    yield "POST", "/v1/chat/completions", completion, "application/json"
    yield "POST", "/v1/chat/completions", completion | {"stream": True}, "application/json"
    long = [{"role": "assistant", "content": "It is long. " * 25_000}, *_MESSAGES]
    yield "POST", "/v1/chat/completions", completion | {"messages": long}, "application/json"
    yield "POST", "/chat", _QUESTION | {"conversation_id": "new"}, "application/json"
    yield "GET", "/health/live", None, "application/json"
    yield "GET", "/v1/models", None, "application/json"
    yield "GET", f"/conversations/{'0' * 32}", None, "application/json"
    yield "POST", "/chat", {"question": "What?"}, "application/json"
    yield "PUT", "/chat", {}, "application/json"


async def _ask(
    client: httpx2.AsyncClient, method: str, path: str, body: object, accept: str
) -> httpx2.Response:
    return await client.request(method, path, json=body, headers={"accept": accept})


if __name__ == "__main__":
    sys.exit(main())
