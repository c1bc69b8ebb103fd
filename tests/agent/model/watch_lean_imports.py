"""Run by test_lean_imports.py in a process of its own: turns, with every stand-in watched."""

import asyncio
import json
import os
import sys
from typing import Any

from agent.model import lean_imports

used: list[str] = []


class Watched(type):
    """Metaclass that notes whatever is done with a stand-in."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        used.append(f"{type.__getattribute__(cls, '__name__')}()")
        return super().__call__(*args, **kwargs)

    def __instancecheck__(cls, instance: object) -> bool:
        used.append(f"isinstance {type.__getattribute__(cls, '__name__')}")
        return super().__instancecheck__(instance)

    def __getattribute__(cls, name: str) -> Any:
        used.append(f"{type.__getattribute__(cls, '__name__')}.{name}")
        return super().__getattribute__(name)


lean_imports.Unused = Watched("Unused", (Exception,), dict(vars(lean_imports.Unused)))  # type: ignore[assignment, misc] # so that every stand-in made from now on is watched

import agent.http.agui  # noqa: E402 - after the watch is set, as all that follows
import agent.http.chat  # noqa: E402 - what is watched
import agent.http.conversations  # noqa: E402 - what is watched
import agent.http.health  # noqa: E402 - what is watched
import agent.http.openai.routes  # noqa: E402, F401 - what is watched
from agent.errors import AgentError  # noqa: E402 - what is watched
from agent.events import Event, TurnFailed, TurnFinished  # noqa: E402 - what is watched
from agent.runtime import Runtime  # noqa: E402 - what is watched
from agent.settings import Settings  # noqa: E402 - what is watched
from agent.turns.turn import TurnRequest, stateless_turn  # noqa: E402 - what is watched
from local.azure_openai import (  # noqa: E402 - what is watched
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
from local.stack import LocalStack  # noqa: E402 - what is watched
from tests.support.turns import SwitchableModel, collect  # noqa: E402 - what is watched

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


async def main() -> None:
    imported = len(used)  # class bodies and pydantic read annotations while they import
    ended: dict[str, str] = {}
    model = SwitchableModel()
    async with LocalStack(model=model) as azure:
        os.environ.update(azure.app_settings)  # noqa: TID251 - azure-identity reads it
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


if __name__ == "__main__":
    asyncio.run(main())
