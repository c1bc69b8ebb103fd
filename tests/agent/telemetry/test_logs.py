"""The one line that the log has of each turn."""

import logging
import re
from pathlib import Path

import pytest
from opentelemetry.trace import TraceState

from agent.conversations.owner import ANONYMOUS
from agent.conversations.turn import start_turn
from agent.telemetry import configure_logging
from agent.telemetry.turns import hashed, request_context
from agent.turns.turn import TurnRequest, stateless_turn
from local.azure_openai import CallTool, RoleMissing, Say
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.telemetry import recorded
from tests.support.turns import collect

pytestmark = pytest.mark.asyncio(loop_scope="session")

BAD_STATE = ["Bad Key=what-a-caller-sent"]
OPERATION = "0af7651916cd43dd8448eb211c80319c"


def turn_lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, str]]]:
    """Level and fields of each line about a turn."""
    lines = [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "agent"]
    return [
        (level, dict(re.findall(r"(\w+)=(\S+)", line)))
        for level, line in lines
        if line.startswith("turn ")
    ]


async def test_what_a_caller_says_of_its_trace_is_in_no_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    configure_logging(content=False)
    assert not TraceState.from_header(BAD_STATE)
    assert caplog.text == ""


async def test_a_turn_has_one_line_with_its_parts(
    azure: SharedAzure,
    open_runtime: OpenRuntime,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    caplog.set_level(logging.INFO, "agent")
    with azure.model.script(CallTool(code="import time; time.sleep(0.2)"), Say("Done.")):
        async with open_runtime(conversations_url=tmp_path.as_uri()) as runtime:
            services = await runtime.conversations()
            with request_context({}, OPERATION):
                turn = await start_turn(services, ANONYMOUS, None, TurnRequest("Hi"))
            usage = (await collect(aiter(turn))).finished.usage
    ((level, fields),) = turn_lines(caplog)
    assert level == "INFO"
    parts = {name: int(fields.pop(f"{name}_ms")) for name in ("total", "model", "pool", "store")}
    assert parts["pool"] >= 200
    assert parts["store"] > 0
    assert parts["total"] >= parts["model"] + parts["pool"]
    assert fields == {
        "outcome": "stop",
        "operation_id": OPERATION,
        "conversation": hashed(turn.conversation_id),
        "model_calls": "2",
        "tool_calls": "1",
        "input_tokens": str(usage.prompt_tokens),
        "output_tokens": str(usage.completion_tokens),
    }


async def test_a_turn_that_fails_has_one_line_with_its_code(
    azure: SharedAzure, open_runtime: OpenRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "agent")
    azure.stack.openai.faults.inject(RoleMissing(), times=None)
    async with open_runtime() as runtime:
        with recorded() as taken:
            await collect(stateless_turn(runtime.turns, TurnRequest("Hi")))
    azure.stack.openai.faults.clear()
    ((level, fields),) = turn_lines(caplog)
    assert level == "WARNING"
    assert (fields["outcome"], fields["code"]) == ("failed", "ModelAccessDenied")
    (span,) = taken.named("invoke_agent code-interpreter")
    assert span.context
    assert fields["trace_id"] == f"{span.context.trace_id:032x}"
