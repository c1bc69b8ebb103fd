"""Figures of its own code, shown to a model that may see them."""

import base64

import pytest

from agent.events import FileCreated
from agent.turns.code_interpreter import FIGURES_MAX
from agent.turns.turn import TurnRequest, stateless_turn
from local.azure_openai import CallTool, CallTools, ChatRequest, Say
from local.azure_openai.requests import ImagePart
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.turns import collect, tool_results

pytestmark = pytest.mark.asyncio(loop_scope="session")

PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()"
SHOW = "from IPython.display import Image, display\nfrom PIL import Image as P\nimport io, os\n"


def figures(request: ChatRequest) -> list[bytes]:
    """The pictures of the last message."""
    content = request.messages[-1].content
    if isinstance(content, str) or content is None:
        return []
    parts = [part for part in content if isinstance(part, ImagePart)]
    return [base64.b64decode(part.image_url.url.partition(",")[2]) for part in parts]


async def test_a_model_sees_each_figure_once_and_can_mend_it(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    calls = CallTools([CallTool(code=PLOT), CallTool(code="print(1)")])
    steps = (calls, CallTool(code=PLOT), CallTool(code="print(2)"), Say("Done."))
    with azure.model.script(*steps) as script:
        async with open_runtime(azure_openai_vision="figures") as runtime:
            turn = await collect(stateless_turn(runtime.turns, TurnRequest("Plot.")))
    files = [
        base64.b64decode(e.file.url.partition(",")[2])
        for e in turn.events
        if isinstance(e, FileCreated)
    ]
    assert len(files) == 2
    assert [figures(request) for request in script.requests] == [[], files[:1], files[1:], []]
    roles = [[message.role for message in request.messages] for request in script.requests]
    assert roles[1] == ["system", "user", "assistant", "tool", "tool", "assistant", "user"]
    assert roles[3] == ["system", "user", "assistant", "tool", "tool", *["assistant", "tool"] * 2]
    assert "image-1.png" in str(script.requests[1].messages[-1].content)
    # What is kept of the turn has none of it.
    assert "base64" not in str(turn.finished.messages)
    assert [m.role for m in turn.finished.messages].count("user") == 1


@pytest.mark.parametrize("vision", ["none", "questions"])
async def test_without_the_setting_no_figure_is_shown(
    azure: SharedAzure, open_runtime: OpenRuntime, vision: str
) -> None:
    with azure.model.script(CallTool(code=PLOT), Say("Done.")) as script:
        async with open_runtime(azure_openai_vision=vision) as runtime:
            await collect(stateless_turn(runtime.turns, TurnRequest("Plot.")))
    assert figures(script.requests[1]) == []
    assert "[image: image-1.png, 547x413, shown to the user]" in tool_results(script.requests[1])[0]


async def test_number_bytes_and_pixels_are_bounded(
    azure: SharedAzure, open_runtime: OpenRuntime
) -> None:
    code = SHOW + (
        "def show(width, height, noise=False):\n"
        "    content = os.urandom(3 * width * height) if noise else bytes(3 * width * height)\n"
        "    file = io.BytesIO()\n"
        "    P.frombytes('RGB', (width, height), content).save(file, 'PNG', compress_level=1)\n"
        "    display(Image(file.getvalue()))\n"
        "for width in range(10, 16): show(width, 1)\n"
        "show(2001, 2000)\n"  # pixels
        "show(700, 700, True)\n"  # bytes
    )
    with azure.model.script(CallTool(code=code), Say("Done.")) as script:
        async with open_runtime(azure_openai_vision="figures") as runtime:
            await collect(stateless_turn(runtime.turns, TurnRequest("Show.")))
    seen = figures(script.requests[1])
    assert len(seen) == FIGURES_MAX
    assert [int.from_bytes(content[16:20]) for content in seen] == [12, 13, 14, 15]
