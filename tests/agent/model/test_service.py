"""The short cuts through openai and Semantic Kernel: the libraries must still take them."""

from typing import Any

import pytest

from agent.model import service
from agent.turns.turn import TurnRequest, stateless_turn
from local.azure_openai import CallTool, Say
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.turns import collect

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(
    ("stream", "replies"), [(False, {"_Completion"}), (True, {"_Chunk"})], ids=["whole", "pieces"]
)
async def test_the_libraries_call_what_replaces_their_slow_paths(
    azure: SharedAzure,
    open_runtime: OpenRuntime,
    monkeypatch: pytest.MonkeyPatch,
    stream: bool,
    replies: set[str],
) -> None:
    built, copied = set[str](), list[object]()
    build = service._Validated.build.__func__  # type: ignore[attr-defined] # of a classmethod
    deepcopy = service.ModelSettings.__deepcopy__

    def spy_build(cls: type, *, response: Any, data: dict[str, Any]) -> Any:
        built.add(cls.__name__)
        return build(cls, response=response, data=data)

    def spy_deepcopy(settings: Any, memo: dict[int, Any] | None = None) -> Any:
        copied.append(settings)
        return deepcopy(settings, memo)

    monkeypatch.setattr(service._Validated, "build", classmethod(spy_build))
    monkeypatch.setattr(service.ModelSettings, "__deepcopy__", spy_deepcopy)
    with azure.model.script(CallTool(code="1 + 1"), Say("Two.")):
        async with open_runtime() as runtime:
            request = TurnRequest("What is 1 + 1?", stream=stream)
            turn = await collect(stateless_turn(runtime.turns, request))
    assert turn.finished.output == "Two."
    assert built == replies
    assert len(copied) == 2, "one copy per model call"
