"""How fast the page is, in the browser itself; also on a machine that is busy."""

import json
from typing import Any

import pytest
from playwright.async_api import Browser, Route, expect

from tests.page.conftest import OpenChat

pytestmark = pytest.mark.asyncio(loop_scope="session")

ID = "a" * 32
LONGEST_TASK_MS = 100
SCROLL = """async (main, share) => {
  main.scrollTop = share * main.scrollHeight;
  await new Promise(d => requestAnimationFrame(() => requestAnimationFrame(d)));
}"""
CODE = "\n".join(f"values_{n} = [x ** 2 for x in range({n})]  # squares" for n in range(25))
TEXT = "\n\n".join(
    f"Paragraph {n} with **bold**, `code` and a [link](https://x.example)." for n in range(6)
)


def conversation(turns: int) -> dict[str, Any]:
    execution = {
        "code": CODE,
        "status": "Succeeded",
        "stdout": "\n".join(f"line {n} " + "x" * 60 for n in range(300)),
        "stderr": "",
        "result": "42",
        "duration_ms": 12,
    }
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    turn = {"output": TEXT, "files": [], "usage": usage, "finish_reason": "stop", "warnings": []}
    return {
        "id": ID,
        "created_at": "2026-01-01T00:00:00Z",
        "earlier_turns": 0,
        "turns": [
            turn
            | {
                "input": f"Question {n}",
                "executions": [execution] if n % 2 else [],
                "asked_at": "2026-01-01T00:00:00Z",
            }
            for n in range(turns)
        ],
    }


def longest_task_ms(trace: bytes) -> float:
    """CPU time of the longest task of a page's main thread: a busy machine does not lengthen it."""
    events = json.loads(trace)["traceEvents"]
    main = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    tasks: list[float] = [
        event["tdur"] / 1000
        for event in events
        if event["name"].endswith("RunTask")
        and (event["pid"], event["tid"]) in main
        and "tdur" in event
    ]
    assert len(tasks) > 100, "the trace has no tasks"
    return max(tasks)


async def test_a_long_conversation_opens_and_scrolls_without_a_long_task(
    browser: Browser, open_chat: OpenChat
) -> None:
    chat = await open_chat()

    async def history(route: Route) -> None:
        is_list = route.request.url.endswith("/files")
        await route.fulfill(json={"files": []} if is_list else conversation(200))

    await chat.page.route("**/api/conversations/**", history)
    await browser.start_tracing(page=chat.page, categories=["toplevel", "devtools.timeline"])
    await chat.load(f"#{ID}")
    await expect(chat.turns).to_have_count(200)
    assert await chat.page.locator("section.run").count() == 100
    await expect(chat.last).to_be_in_viewport()
    for top in (0.75, 0.5, 0.25, 0, 1):
        await chat.page.locator("main").evaluate(SCROLL, top)
    assert longest_task_ms(await browser.stop_tracing()) < LONGEST_TASK_MS


async def test_text_is_painted_within_100_ms_of_its_event_however_long_the_answer_is(
    open_chat: OpenChat,
) -> None:
    chat = await open_chat()
    # The stream is made in the page, so that it is known when each event was there to be read.
    await chat.page.add_init_script(
        """
        const real = window.fetch;
        window.delays = [];
        window.alone = [];
        window.fetch = (path, init) => {
          if (path !== "/api/chat") return real(path, init);
          const encoder = new TextEncoder();
          const send = (controller, event) =>
            controller.enqueue(encoder.encode("data: " + JSON.stringify(event) + "\\n\\n"));
          const body = new ReadableStream({
            async start(controller) {
              send(controller, { type: "RUN_STARTED", threadId: "a".repeat(32) });
              send(controller, { type: "TEXT_MESSAGE_START", messageId: "m" });
              for (let n = 0; n < 60; n += 1) {
                const text = "end" + n;
                const delta = "Words **of** a paragraph" + ". ".repeat(300) + text + "\\n\\n";
                // How long a frame takes with nothing to show, at this moment.
                const idle = performance.now();
                await new Promise(requestAnimationFrame);
                window.alone.push(performance.now() - idle);
                const sent = performance.now();
                send(controller, { type: "TEXT_MESSAGE_CONTENT", messageId: "m", delta });
                const shown = () => document.querySelector(".prose")?.lastElementChild?.textContent;
                while (!shown()?.includes(text)) {
                  await new Promise(requestAnimationFrame);
                }
                window.delays.push(performance.now() - sent);
              }
              send(controller, { type: "RUN_FINISHED", result: {} });
              controller.close();
            },
          });
          return Promise.resolve(new Response(body));
        };
        """
    )
    await chat.load()
    await chat.ask("Tell a long story.")
    delays: list[float] = await chat.page.evaluate("delays")
    alone: list[float] = await chat.page.evaluate("alone")
    assert len(delays) == len(alone) == 60
    # The machine may have been busy with something else a few times.
    assert sorted(delays)[54] < max(100, 4 * sorted(alone)[54]), json.dumps([delays, alone])
    # What is new costs as much at the end as at the beginning.
    assert sum(delays[-20:]) < 3 * sum(delays[:20]) + max(100, 2 * sum(alone[-20:]))
