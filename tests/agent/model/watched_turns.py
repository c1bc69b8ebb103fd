"""Turns of every kind, in a process whose stand-ins watch_lean_imports.py watches."""

import json
import os
import sys

from agent.errors import AgentError
from agent.events import Event, TurnFailed, TurnFinished
from agent.http import agui, chat, conversations, health
from agent.http.openai import routes as openai
from agent.runtime import Runtime
from agent.settings import Settings
from agent.turns.turn import TurnRequest, stateless_turn
from local.azure_openai import (
    AnswerFiltered,
    CallTool,
    CallTools,
    Cut,
    Failed,
    Fault,
    PromptFiltered,
    Say,
    Step,
    Throttled,
)
from local.stack import LocalStack
from tests.support.turns import SwitchableModel, collect

# Imported to be watched.
SURFACES = (agui, chat, conversations, health, openai)
FIGURE = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
TURNS: dict[str, tuple[Step, ...]] = {
    "no tool": (Say("Two."),),
    "a tool": (CallTool(code="1 + 1"), Say("Two.")),
    "two tools at once": (
        CallTools((CallTool(code="x = 1"), CallTool(code="x + 1"))),
        Say("Two."),
    ),
    "code that raises": (CallTool(code="1 / 0"), Say("Two.")),
    "a figure": (CallTool(code=FIGURE), Say("Two.")),
    "malformed arguments": (
        CallTool(name="execute_python", arguments="{"),
        Say("Two."),
    ),
    "wrong arguments": (
        CallTool(name="execute_python", arguments='{"source": 1}'),
        Say("Two."),
    ),
    "an unknown tool": (CallTool(name="nothing", arguments="{}"), Say("Two.")),
}
FAULTS: dict[str, Fault] = {
    "throttled": Throttled(retry_after_s=0),
    "failed": Failed(500),
    "prompt filtered": PromptFiltered(),
    "answer filtered": AnswerFiltered(),
    "cut": Cut(),
}


def end_of(last: Event) -> str:
    """How a turn ended."""
    match last:
        case TurnFinished():
            return last.output
        case TurnFailed(error=AgentError() as error):
            return error.code
    raise AssertionError(last)


async def answer(used: list[str]) -> None:
    """Print what was used of stand-ins until now, and what while turns were answered, as JSON."""
    imported = len(used)  # class bodies and pydantic read annotations while they import
    ended: dict[str, str] = {}
    model = SwitchableModel()
    async with LocalStack(model=model) as azure:
        os.environ.update(azure.app_settings)  # noqa: TID251 - azure-identity finds the managed identity there alone
        async with Runtime(Settings.load()) as runtime:
            for name, steps in TURNS.items():
                with model.script(*steps):
                    turn = await collect(
                        stateless_turn(runtime.turns, TurnRequest("What is 1 + 1?", stream=True))
                    )
                ended[name] = end_of(turn.events[-1])
            for name, fault in FAULTS.items():
                azure.openai.faults.inject(fault, times=None)
                turn = await collect(
                    stateless_turn(runtime.turns, TurnRequest("What is 1 + 1?", stream=True))
                )
                azure.openai.faults.clear()
                ended[name] = end_of(turn.events[-1])
    report = {
        "ended": ended,
        "while_importing": used[:imported],
        "while_answering": used[imported:],
        "modules": sorted(sys.modules),
    }
    print(json.dumps(report))
