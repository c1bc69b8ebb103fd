"""Each line is either logged while its invocation runs, as the host takes it, or printed."""

import asyncio
import logging
import sys
import threading
from collections.abc import Iterator
from functools import partial

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from agent.host_log import invocation, print_what_the_host_drops
from agent.http.dispatch import dispatch
from agent.runtime import close_runtime
from local.azure_openai import Say
from tests.conftest import SharedAzure


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("agent.test_host_log")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    print_what_the_host_drops(logger)
    yield logger
    logger.handlers.clear()


def test_what_is_logged_in_no_invocation_is_printed_with_its_level(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    with invocation():
        logger.info("the host has it")
        thread = threading.Thread(target=logger.warning, args=("of a thread",))
        thread.start()
        thread.join()
    logger.error("afterwards")
    assert capsys.readouterr().err == "WARNING: of a thread\nERROR: afterwards\n"


async def test_a_task_that_outlives_its_invocation_is_in_it_no_longer(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    is_over = asyncio.Event()

    async def work() -> None:
        logger.info("during")
        await is_over.wait()
        logger.info("after")

    with invocation():
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
    is_over.set()
    await task
    assert capsys.readouterr().err == "INFO: after\n"


def test_no_line_is_printed_twice(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    print_what_the_host_drops(logger)
    logger.info("once")
    assert capsys.readouterr().err == "INFO: once\n"


def test_where_all_lines_are_printed_none_is_printed_besides(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger = logging.getLogger("agent.test_host_log.printing")
    logger.addHandler(logging.StreamHandler(sys.stderr))
    print_what_the_host_drops(logger)
    logger.error("once")
    assert capsys.readouterr().err == "once\n"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.asyncio(loop_scope="session")
async def test_the_line_of_a_turn_is_printed_where_its_answer_is_streamed(
    azure: SharedAzure,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    *,
    streamed: bool,
) -> None:
    for name, value in azure.stack.app_settings.items():
        monkeypatch.setenv(name, value)
    chat = partial(dispatch, "chat", sign_in_required=False)
    transport = httpx2.ASGITransport(Starlette(routes=[Route("/", chat, methods=["POST"])]))
    accept = "text/event-stream" if streamed else "application/json"
    try:
        async with httpx2.AsyncClient(transport=transport, base_url="http://agent") as api:
            with azure.model.script(Say("Hello.")):
                reply = await api.post("/", json={"input": "Hi"}, headers={"accept": accept})
    finally:
        await close_runtime()
    assert "Hello." in reply.text
    assert "turn outcome=stop" in caplog.text
    assert ("INFO: turn outcome=stop" in capsys.readouterr().err) is streamed
