"""All that a cell shows, in order: `returnJupyterFormatExecutionResult`."""

import base64
from typing import Any

import pytest

from tests.support.pool_client import PoolClient

pytestmark = pytest.mark.asyncio(loop_scope="session")

FLAG = {"returnJupyterFormatExecutionResult": True}
FIGURE = "plt.figure(figsize=(1, 1)); plt.plot([1]); plt.show()\n"
PLOT = "import matplotlib.pyplot as plt\n"
# Objects as libraries make them: an HTML table, SVG, a chart with formats of its own.
CHART = """
class Chart:
    def __init__(self, bundle): self.bundle = bundle
    def _repr_mimebundle_(self, include=None, exclude=None): return self.bundle
class Html:
    def __repr__(self): return 'text form'
    def _repr_html_(self): return '<b>html form</b>'
"""

type Shown = tuple[str, object]


async def shown(session: PoolClient, code: str) -> list[Shown]:
    answer = await session.execute(code, **FLAG)
    return [brief(output) for output in answer["result"]["executionResult"]]


def brief(output: dict[str, Any]) -> Shown:
    """One output in a word and what it holds: a stream's text, an error's name, the formats."""
    match output["output_type"]:
        case "stream":
            assert output.keys() == {"output_type", "name", "text"}
            return output["name"], output["text"]
        case "error":
            assert output.keys() == {"output_type", "ename", "evalue", "traceback"}
            return "error", output["ename"]
        case "execute_result":
            expected = {"output_type", "data", "metadata", "execution_count"}
            assert output.keys() == expected
            return "result", set(output["data"])
    assert output.keys() == {"output_type", "data", "metadata"}
    return "display", set(output["data"])


TEXT, HTML = {"text/plain"}, {"text/plain", "text/html"}
PNG = {"text/plain", "image/png"}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        pytest.param("1", [("result", TEXT)], id="a value"),
        pytest.param("x = 1", [], id="nothing"),
        pytest.param("None", [], id="none"),
        pytest.param("print('a')", [("stdout", "a\n")], id="a print"),
        pytest.param(
            "import sys; print('a'); print('b', file=sys.stderr); 1",
            [("stdout", "a\n"), ("stderr", "b\n"), ("result", TEXT)],
            id="both streams and a value",
        ),
        pytest.param(
            "print('a'); display(1); print('b'); display(2); print('c')",
            [("stdout", "a\n"), ("display", TEXT)] * 1
            + [("stdout", "b\n"), ("display", TEXT), ("stdout", "c\n")],
            id="displays between prints",
        ),
        pytest.param(
            "print('a')\n!echo shell\ndisplay(1)\nprint('b')",
            [("stdout", "a\nshell\n"), ("display", TEXT), ("stdout", "b\n")],
            id="a command between prints",
        ),
        pytest.param(
            "import os; os.write(1, b'raw\\n'); display(1); os.write(1, b'more\\n'); print('x')",
            [("stdout", "raw\n"), ("display", TEXT), ("stdout", "more\nx\n")],
            id="writes past Python's stdout",
        ),
        pytest.param(PLOT + FIGURE * 3, [("display", PNG)] * 3, id="several figures"),
        pytest.param(
            PLOT + "print('a')\n" + FIGURE + "print('b')",
            [("stdout", "a\n"), ("display", PNG), ("stdout", "b\n")],
            id="a figure between prints",
        ),
        pytest.param(
            PLOT + FIGURE + "6 * 7", [("display", PNG), ("result", TEXT)], id="a figure and a value"
        ),
        pytest.param(
            PLOT + "plt.plot([1])", [("result", TEXT), ("display", PNG)], id="a figure left open"
        ),
        pytest.param(
            PLOT + FIGURE + "1/0",
            [("display", PNG), ("error", "ZeroDivisionError")],
            id="a figure and then an exception",
        ),
        pytest.param(
            PLOT + FIGURE + "print('a'); raise ValueError('no')",
            [("display", PNG), ("stdout", "a\n"), ("error", "ValueError")],
            id="a figure, a print and then an exception",
        ),
        pytest.param("def (", [("error", "SyntaxError")], id="not Python"),
        pytest.param(
            "import pandas; pandas.DataFrame({'n': [1]})", [("result", HTML)], id="a data frame"
        ),
        pytest.param(
            "import pandas; display(pandas.DataFrame({'n': [1]})); 2",
            [("display", HTML), ("result", TEXT)],
            id="a displayed data frame and a value",
        ),
        pytest.param(
            "from IPython.display import HTML, SVG, Markdown, Latex, JSON\n"
            "display(HTML('<i>x</i>'), Markdown('# x'), Latex('$x$'), JSON({'a': 1}))\n"
            "display(SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>'))",
            [
                ("display", HTML),
                ("display", {"text/plain", "text/markdown"}),
                ("display", {"text/plain", "text/latex"}),
                ("display", {"text/plain", "application/json"}),
                ("display", {"text/plain", "image/svg+xml"}),
            ],
            id="IPython's display classes",
        ),
        pytest.param(
            "import PIL.Image; PIL.Image.new('RGB', (2, 2))", [("result", PNG)], id="a PIL image"
        ),
        pytest.param(CHART + "Html()", [("result", HTML)], id="_repr_html_"),
        pytest.param(
            CHART + "display(Chart({'text/plain': 'x', 'application/vnd.plotly.v1+json': {}}))",
            [("display", {"text/plain", "application/vnd.plotly.v1+json"})],
            id="_repr_mimebundle_",
        ),
        pytest.param(
            "for n in range(20): display(n)", [("display", TEXT)] * 20, id="twenty displays"
        ),
        pytest.param(
            "from IPython.display import clear_output\nprint('old'); display(1)\n"
            "clear_output()\nprint('new'); display(2)",
            [("stdout", "new\n"), ("display", TEXT)],
            id="cleared",
        ),
        pytest.param(
            "from IPython.display import clear_output\n"
            "for n in range(3): clear_output(wait=True); print(n); display(n)",
            [("stdout", "2\n"), ("display", TEXT)],
            id="cleared by what comes next",
        ),
        pytest.param(
            "from IPython.display import clear_output\n"
            "for n in range(3): clear_output(wait=True); print(n)",
            [("stdout", "2\n")],
            id="cleared by the next print",
        ),
        pytest.param(
            "from IPython.display import clear_output\nprint('kept'); clear_output(wait=True)",
            [("stdout", "kept\n")],
            id="not cleared as nothing comes next",
        ),
        pytest.param(
            "handle = display('first', display_id=True); print('a'); handle.update([2])",
            [("display", TEXT), ("stdout", "a\n")],
            id="updated in its place",
        ),
        pytest.param(
            "import os\nif os.fork() == 0:\n    display('child'); os._exit(0)\n"
            "os.wait()\nprint('a'); display(1); print('b')",
            [("stdout", "a\n"), ("display", TEXT), ("stdout", "b\n")],
            id="a child shows nothing",
        ),
        pytest.param(
            "import threading\nthread = threading.Thread(target=display, args=(1,))\n"
            "print('a'); thread.start(); thread.join(); print('b')",
            [("stdout", "a\n"), ("display", TEXT), ("stdout", "b\n")],
            id="a thread shows",
        ),
    ],
)
async def test_outputs_come_in_the_order_in_which_they_were_shown(
    session: PoolClient, code: str, expected: list[Shown]
) -> None:
    assert await shown(session, code) == expected


async def test_formats_arrive_as_a_notebook_keeps_them(session: PoolClient) -> None:
    code = CHART + (
        "from IPython.display import Image\n"
        "display(Chart({'text/plain': 'x', 'application/vnd.v5+json': {'mark': ['é', 1.5]}}))\n"
        "display(Chart({'image/gif': b'GIF89a', 'text/x-own': 'own'}))\n"
        "import PIL.Image, io; file = io.BytesIO()\n"
        "PIL.Image.new('RGB', (2, 2)).save(file, 'PNG')\n"
        "display(Image(file.getvalue(), width=40)); Html()"
    )
    chart, gif, image, html = (await session.result(code, **FLAG))["executionResult"]
    assert chart["data"]["application/vnd.v5+json"] == {"mark": ["é", 1.5]}
    assert base64.b64decode(gif["data"]["image/gif"]) == b"GIF89a"
    assert gif["data"]["text/x-own"] == "own"
    assert base64.b64decode(image["data"]["image/png"]).startswith(b"\x89PNG")
    assert image["metadata"] == {"image/png": {"width": 40}}
    assert html["data"] == {"text/plain": "text form", "text/html": "<b>html form</b>"}


async def test_an_updated_display_holds_what_it_was_updated_to(session: PoolClient) -> None:
    code = "handle = display('first', display_id=True)\nfor n in range(2000): handle.update(n)"
    (output,) = (await session.result(code, **FLAG))["executionResult"]
    assert output["data"]["text/plain"] == "1999"


async def test_large_texts_arrive_whole(session: PoolClient) -> None:
    code = CHART + "Chart({'text/plain': 'page', 'text/html': 'é\"' * 3_000_000})"
    (output,) = (await session.result(code, **FLAG))["executionResult"]
    assert output["data"] == {"text/plain": "page", "text/html": 'é"' * 3_000_000}


async def test_what_does_not_fit_is_left_out_by_name(session: PoolClient) -> None:
    code = CHART + "Chart({'text/plain': 'large', 'image/png': bytes(40_000_000)})"
    result = await session.result(code, **FLAG)
    assert [brief(output) for output in result["executionResult"]][-1] == ("result", TEXT)
    assert "image/png of 40,000,000 bytes left out" in result["stderr"]
    many = await session.result("for n in range(600): display(n)", **FLAG)
    assert [brief(o) for o in many["executionResult"]].count(("display", TEXT)) == 500
    assert "500 outputs are shown; those after them are left out" in many["stderr"]


async def test_hostile_formats_cost_neither_kernel_nor_outputs(session: PoolClient) -> None:
    await session.result("x = 5")
    code = CHART + (
        "for n in range(400):\n"
        "    display(Chart({f'{k}/{\"t\" * 190}': '\\x00' * 9 for k in range(60)}), metadata={})\n"
    )
    result = await session.result(code, **FLAG)
    assert "outputs are left out" in result["stderr"]
    assert (await session.result("x"))["executionResult"] == 5


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (
            "class Bad:\n    def __repr__(self): 1/0\nprint('a'); display(Bad()); 6 * 7",
            "ZeroDivisionError",
        ),
        (
            "class Bad:\n    def _repr_html_(self): 1/0\nprint('a'); display(Bad()); 6 * 7",
            "ZeroDivisionError",
        ),
        ("print('a'); display(3**100000); 6 * 7", "ValueError: Exceeds the limit"),
        (
            PLOT + "print('a'); plt.title('$\\\\frac{1$'); plt.show(); 6 * 7",
            "ValueError",
        ),
        (
            PLOT + "print('a'); plt.figure(figsize=(300, 300)); plt.plot([1]); plt.show(); 6 * 7",
            "MemoryError",
        ),
    ],
)
async def test_an_error_while_something_is_displayed_is_shown_and_the_cell_goes_on(
    session: PoolClient, code: str, name: str
) -> None:
    plain = await session.result(code)
    assert "Traceback (most recent call last)" in plain["stderr"]
    assert name in plain["stderr"]
    assert (plain["stdout"], plain["executionResult"]) == ("a\n", 42)
    outputs = [brief(o) for o in (await session.result(code, **FLAG))["executionResult"]]
    assert ("error", name.partition(":")[0]) in outputs
    assert outputs[-1] == ("result", TEXT)


async def test_an_error_in_the_last_expressions_repr_leaves_the_execution_succeeded(
    session: PoolClient,
) -> None:
    result = await session.result("class Bad:\n    def __repr__(self): raise KeyError('k')\nBad()")
    assert result["stderr"].endswith("KeyError: 'k'\n")
    assert result["executionResult"] == ""


async def test_what_was_shown_before_the_time_was_up_is_shown(session: PoolClient) -> None:
    answer = await session.execute(
        PLOT + "print('a')\n" + FIGURE + "while True: pass", timeoutInSeconds=1, **FLAG
    )
    outputs = [brief(output) for output in answer["result"]["executionResult"]]
    assert outputs == [
        ("stdout", "a\n"),
        ("display", PNG),
        ("error", "KeyboardInterrupt"),
        ("error", "ExecutionFailed"),
    ]
    assert "Request timed out" in answer["result"]["executionResult"][-1]["evalue"]


async def test_a_lost_kernel_leaves_what_was_printed(session: PoolClient) -> None:
    answer = await session.execute("print('a', flush=True); import os; os._exit(1)", **FLAG)
    outputs = [brief(output) for output in answer["result"]["executionResult"]]
    assert outputs == [("stdout", "a\n"), ("error", "ExecutionFailed")]


async def test_without_the_flag_the_answer_is_as_it_was(session: PoolClient) -> None:
    code = PLOT + "print('a')\n" + FIGURE + FIGURE + "[1, 'two']"
    plain = await session.result(code)
    assert plain["stdout"] == "a\n"
    assert plain["executionResult"].keys() == {"type", "format", "base64_data"}
    flagged = await session.result(code, **FLAG)
    assert flagged["stdout"] == "a\n"
    images = [o["data"]["image/png"] for o in flagged["executionResult"] if brief(o)[1] == PNG]
    assert len(images) == 2
    assert images[1] == plain["executionResult"]["base64_data"]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_a_cut_stream_says_in_a_header_how_long_it_was(
    session: PoolClient, stream: str
) -> None:
    for text, printed in (("'é' * 2_000_000", 2_000_001), ("'ab' * 20", None)):
        body = {
            "code": f"import sys; print({text}, file=sys.{stream})",
            "executionType": "synchronous",
        }
        response = await session.request("POST", "executions", json=body)
        headers = {k: v for k, v in response.headers.items() if k.startswith("x-local-")}
        expected = {f"x-local-{stream}-characters": str(printed)} if printed else {}
        assert headers == expected


class TestShapesOfTheFlag:
    """What a pool could answer instead; the service documents no shape."""

    CODE = PLOT + FIGURE + "print('a'); 42"

    @pytest.fixture(autouse=True)
    def reset(self, session: PoolClient) -> Any:
        yield
        session.pool.faults.clear()

    async def test_an_object_with_outputs(self, session: PoolClient) -> None:
        session.pool.faults.jupyter_format = "outputs"
        result = (await session.result(self.CODE, **FLAG))["executionResult"]
        assert result.keys() == {"outputs"}
        assert [brief(output)[0] for output in result["outputs"]] == ["display", "stdout", "result"]

    async def test_one_mime_bundle(self, session: PoolClient) -> None:
        session.pool.faults.jupyter_format = "mime bundle"
        result = (await session.result(self.CODE, **FLAG))["executionResult"]
        assert result == {"text/plain": "42"}
        assert (await session.result("x = 1", **FLAG))["executionResult"] == {}

    async def test_ignored(self, session: PoolClient) -> None:
        session.pool.faults.jupyter_format = "ignored"
        result = (await session.result(self.CODE, **FLAG))["executionResult"]
        assert result["type"] == "image"

    async def test_refused(self, session: PoolClient) -> None:
        session.pool.faults.jupyter_format = "refused"
        response = await session.request("POST", "executions", json={"code": "1", **FLAG})
        assert response.status_code == 400
        error = response.json()["error"]
        assert error["code"] == "SessionRequestValidationFailed"
        assert error["target"] == "returnJupyterFormatExecutionResult"
        assert (await session.result("1"))["executionResult"] == 1
