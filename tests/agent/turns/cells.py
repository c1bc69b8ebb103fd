"""Cells of notebooks, and what each must bring: a table for test_cells."""

from dataclasses import dataclass
from typing import Final

PLOT: Final = "import matplotlib.pyplot as plt\n"
FRAME: Final = "import pandas as pd\ndf = pd.DataFrame({'a': [1, 2]})\n"
PIL: Final = "from PIL import Image\n"
NO_PICTURE: Final = "png='iVBORw0KGgo='\n"
SVG: Final = '<svg xmlns="http://www.w3.org/2000/svg"/>'


@dataclass(frozen=True)
class Cell:
    """A cell and what it must bring.

    Attributes:
        code: of the cell.
        shows: its outputs in order: `text TEXT`, `image TYPE`, `html TEXT`; `…` at the end of a
            text stands for anything.
        stdout: what it prints, whole.
        stderr: what must be in stderr; empty: nothing may be there.
        result: the value of the last expression, if it has a text form.
        in_file: what must be in its last file.
    """

    code: str
    shows: tuple[str, ...] = ()
    stdout: str = ""
    stderr: str = ""
    result: str | None = None
    in_file: bytes = b""


def value(code: str, text: str) -> Cell:
    """A cell that shows the value of its last expression and nothing else."""
    return Cell(code, (f"text {text}",), result=text)


CELLS: Final = {
    # Values
    "an int": value("6 * 7", "42"),
    "a float": value("0.1 + 0.2", "0.30000000000000004"),
    "not a number": value("float('nan')", "nan"),
    "a bool": value("1 > 2", "False"),
    "a text": value("'it is so'", "it is so"),
    "a text with lines": value("'one\\ntwo'", "one\ntwo"),
    "a text with quotes": value('"it\'s"', "it's"),
    "a text that is a number": value("'42'", "42"),
    "a text that is JSON": value('\'[{"output_type": "stream"}]\'', '[{"output_type": "stream"}]'),
    "an emoji": value("'\\N{GRINNING FACE}'", "\N{GRINNING FACE}"),
    "bytes": value("b'a'", "b'a'"),
    "a list": value("[1, 'a']", "[1, 'a']"),
    "an empty list": value("[]", "[]"),
    "an empty dictionary": value("{}", "{}"),
    "a dictionary": value("{'a': 1}", "{'a': 1}"),
    "a dictionary like a mime bundle": value("{'text/plain': 'a'}", "{'text/plain': 'a'}"),
    "a list like outputs": value(
        "[{'output_type': 'stream', 'text': 'a'}]", "[{'output_type': 'stream', 'text': 'a'}]"
    ),
    "a set": value("{3}", "{3}"),
    "a tuple": value("1, 2", "(1, 2)"),
    "a complex number": value("1j * 1j", "(-1+0j)"),
    "a large int": value("2 ** 100", "1267650600228229401496703205376"),
    "a fraction": value("from fractions import Fraction\nFraction(1, 3)", "Fraction(1, 3)"),
    "an array": value("import numpy as np\nnp.arange(3)", "array([0, 1, 2])"),
    "a date": value("import datetime\ndatetime.date(2026, 1, 2)", "datetime.date(2026, 1, 2)"),
    "a function": Cell("def f(): pass\nf", ("text <function…",), result="<function…"),
    "an object": Cell("class A: pass\nA()", ("text <__main__.A…",), result="<__main__.A…"),
    "a value of Chinese": value("'\u4e2d' * 3", "\u4e2d\u4e2d\u4e2d"),
    "nothing": Cell("None"),
    "an assignment": Cell("x = 5"),
    "a value that a semicolon hides": Cell("6 * 7;"),
    "an awaited value": value("import asyncio\nawait asyncio.sleep(0, 'slept')", "slept"),
    # Text that is printed
    "a print": Cell("print('a')", stdout="a\n"),
    "a print and a value": Cell("print('a')\n1", ("text 1",), stdout="a\n", result="1"),
    "a print between outputs": Cell(
        "display(1); print('a'); display(2)", ("text 1", "text 2"), stdout="a\n"
    ),
    "stderr": Cell("import sys\nprint('a', file=sys.stderr)", stderr="a\n"),
    "a warning": Cell("import warnings\nwarnings.warn('careful')", stderr="UserWarning: careful"),
    "a command": Cell("!echo said", stdout="said\n"),
    "a cell magic": Cell("%%bash\necho said", stdout="said\n"),
    "a line magic": Cell("%time x = 1", stdout="CPU…"),
    "a future": value("from __future__ import annotations\n1", "1"),
    # display()
    "a display": Cell("display(1)", ("text 1",)),
    "two displays": Cell("display(1, 'b')", ("text 1", "text 'b'")),
    "a display and a value": Cell("display(1)\n2", ("text 1", "text 2"), result="2"),
    "displays in a loop": Cell("for i in range(3): display(i)", ("text 0", "text 1", "text 2")),
    "Markdown": Cell(
        "from IPython.display import Markdown\ndisplay(Markdown('**bold**'))", ("text **bold**",)
    ),
    "LaTeX": Cell(
        "from IPython.display import Math\ndisplay(Math('x^2'))", ("text $\\displaystyle…",)
    ),
    "JSON": Cell("from IPython.display import JSON\ndisplay(JSON({'a': 1}))", ('text {"a": 1}',)),
    "a raw bundle": Cell("display({'text/plain': 'raw'}, raw=True)", ("text raw",)),
    "a type that nothing shows": Cell(
        "display({'application/x-none': 'a'}, raw=True)", ("text [application/x-none: has no…",)
    ),
    "sympy": Cell("import sympy\nsympy.Symbol('x') ** 2", ("text x**2",), result="x**2"),
    "a display that was updated": Cell("h = display(1, display_id=True)\nh.update(2)", ("text 2",)),
    "a cleared output": Cell(
        "from IPython.display import clear_output\ndisplay(1)\nclear_output()\ndisplay(2)",
        ("text 2",),
    ),
    # Tables and pages
    "a table": Cell(
        FRAME + "df", ("html    a\n0  1\n1  2",), result="   a\n0  1\n1  2", in_file=b"<table"
    ),
    "a table that is displayed": Cell(FRAME + "display(df)", ("html    a\n0  1\n1  2",)),
    "two tables": Cell(FRAME + "display(df)\ndf", ("html …", "html …"), result="   a\n0  1\n1  2"),
    "a series": Cell(FRAME + "df.a", ("text 0    1\n1    2…",), result="0    1\n1    2…"),
    "a table of Chinese": Cell(
        "import pandas as pd\npd.DataFrame({'a': ['\u4e2d']})",
        ("html …",),
        result="   a\n0  \u4e2d",
        in_file="\u4e2d".encode(),
    ),
    "a styled table": Cell(
        FRAME + "df.style", ("html <pandas…",), result="<pandas…", in_file=b"<style"
    ),
    "HTML": Cell(
        "from IPython.display import HTML\nHTML('<b>bold</b>')",
        ("html <IPython…",),
        result="<IPython…",
        in_file=b'<meta charset="utf-8">\n<b>bold</b>',
    ),
    "a whole page": Cell(
        "from IPython.display import HTML\ndisplay(HTML('<!DOCTYPE html><p>a'))",
        ("html <IPython…",),
        in_file=b"<!DOCTYPE html><p>a",
    ),
    "an object with _repr_html_": Cell(
        "class A:\n  def _repr_html_(self): return '<i>a</i>'\n"
        "  def __repr__(self): return 'an A'\nA()",
        ("html an A",),
        result="an A",
        in_file=b"<i>a</i>",
    ),
    "a table and a print": Cell(
        FRAME + "print('a')\ndf", ("html …",), stdout="a\n", result="   a\n…"
    ),
    "plotly": Cell(
        "display({'application/vnd.plotly.v1+json':"
        " {'data': [{'y': [1, '</script>']}], 'layout': {}}}, raw=True)",
        ("html …",),
        in_file=rb"[{\"y\": [1, \"\u003c/script\u003e\"]}]".replace(b'\\"', b'"'),
    ),
    "plotly with its HTML": Cell(
        "display({'application/vnd.plotly.v1+json': {'data': [], 'layout': {'a': 1}},"
        " 'text/html': '<div></div>', 'text/plain': 'Figure()'}, raw=True)",
        ("html Figure()",),
        in_file=b'"a": 1',
    ),
    "altair": Cell(
        "display({'application/vnd.vegalite.v5+json': {'mark': 'bar'}, 'text/plain': '<Vega>'},"
        " raw=True)",
        ("html <Vega>",),
        in_file=b'vegaEmbed(\'#figure\', {"mark": "bar"})',
    ),
    "altair 6": Cell(
        "display({'application/vnd.vegalite.v6.1+json': {'mark': 'bar'}}, raw=True)",
        ("html …",),
        in_file=b"vega-lite@6",
    ),
    # Figures
    "a figure": Cell(PLOT + "plt.plot([1, 2])\nplt.show()", ("image png",), in_file=b"\x89PNG"),
    "a figure that nobody shows": Cell(PLOT + "plt.plot([1, 2]);", ("image png",)),
    "two figures": Cell(
        PLOT + "plt.plot([1]); plt.show()\nplt.plot([2]); plt.show()", ("image png", "image png")
    ),
    "two figures at the end": Cell(
        PLOT + "plt.figure(); plt.plot([1])\nplt.figure(); plt.plot([2]);",
        ("image png", "image png"),
    ),
    "a figure and a value": Cell(
        PLOT + "plt.plot([1]); plt.show()\n42", ("image png", "text 42"), result="42"
    ),
    "a value and a figure": Cell(PLOT + "plt.plot([1])\n42", ("text 42", "image png"), result="42"),
    "a figure and a print": Cell(
        PLOT + "plt.plot([1]); print('a'); plt.show(); print('b')", ("image png",), stdout="a\nb\n"
    ),
    "a figure and a table": Cell(
        FRAME + "df.plot(); import matplotlib.pyplot as plt; plt.show()\ndf",
        ("image png", "html …"),
        result="   a\n…",
    ),
    "a figure and an exception": Cell(
        PLOT + "plt.plot([1]); plt.show()\n1/0", ("image png",), stderr="ZeroDivisionError"
    ),
    "a figure as the value": Cell(PLOT + "f, _ = plt.subplots(); plt.close(f)\nf", ("image png",)),
    "an image of PIL": Cell(PIL + "Image.new('RGB', (2, 2))", ("image png",)),
    "two images of PIL": Cell(
        PIL + "a = Image.new('RGB', (2, 2))\ndisplay(a, a)", ("image png", "image png")
    ),
    "an SVG": Cell(
        f"from IPython.display import SVG\nSVG('{SVG}')", ("image svg+xml",), in_file=b"<svg"
    ),
    "a figure as SVG": Cell(
        "%config InlineBackend.figure_formats = ['svg']\n" + PLOT + "plt.plot([1]); plt.show()",
        ("image svg+xml",),
    ),
    "a JPEG": Cell(
        PIL + "import io\nfrom IPython.display import Image as Shown\nb = io.BytesIO()\n"
        "Image.new('RGB', (2, 2)).save(b, 'jpeg')\nShown(b.getvalue())",
        ("image jpeg",),
        in_file=b"\xff\xd8",
    ),
    "a figure with %matplotlib inline": Cell(
        "%matplotlib inline\n" + PLOT + "plt.plot([1]); plt.show()", ("image png",)
    ),
    "an image that is not base64": Cell(
        "display({'image/png': '!', 'text/plain': 'instead'}, raw=True)", ("text instead",)
    ),
    # What fails
    "an exception": Cell("1/0", stderr="ZeroDivisionError: division by zero"),
    "an exception after a print": Cell("print('a')\n1/0", stdout="a\n", stderr="line 2"),
    "an exception after a display": Cell(
        "display(1)\n1/0", ("text 1",), stderr="ZeroDivisionError"
    ),
    "a syntax error": Cell("1 +", stderr="SyntaxError"),
    "an exit": Cell("raise SystemExit(1)", stderr="SystemExit: 1"),
    "a value that cannot be shown": Cell(
        "class A:\n  def __repr__(self): raise ValueError('no text')\nA()", stderr="no text"
    ),
    "a number that is too long to print": Cell("3 ** 100000", stderr="Exceeds the limit"),
    "a figure that cannot be drawn": Cell(
        PLOT + "plt.title('$\\\\frac$'); plt.show(); print('on')",
        ("text <Figure…",),
        stdout="on\n",
        stderr="ParseSyntaxException",
    ),
    "half a surrogate pair": Cell("print('\\ud800')", stdout="\\ud800\n"),
    # What is long
    "a long text": Cell("'x' * 120_000", ("text xxx…",), result="xxx…"),
    "a deep list": Cell("a = []\nfor _ in range(200): a = [a]\na", ("text [[…",), result="[[…"),
}
