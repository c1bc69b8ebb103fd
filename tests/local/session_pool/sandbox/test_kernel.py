"""What a kernel survives, and what code finds in a session."""

import io
import time
import zipfile

import pytest

from tests.support.pool_client import PoolClient

pytestmark = pytest.mark.asyncio(loop_scope="session")

FLAG = {"returnJupyterFormatExecutionResult": True}
HALF = "'\\ud83d'"


@pytest.mark.parametrize("body", [{}, FLAG], ids=["plain", "jupyter"])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        pytest.param(HALF, "\\ud83d", id="a result"),
        pytest.param(f"[{HALF}, {{{HALF}: {HALF}}}]", "\\ud83d", id="in a container"),
        pytest.param(f"print({HALF})", "\\ud83d", id="a print"),
        pytest.param(f"raise ValueError({HALF})", "\\ud83d", id="an exception"),
        pytest.param("type('E\\udc80', (Exception,), {})\nraise _", "udc80", id="its class"),
        pytest.param(
            f"import pandas; pandas.DataFrame({{{HALF}: [{HALF}]}})", "\\ud83d", id="a data frame"
        ),
        pytest.param(f"display({HALF}); 'shown'", "shown", id="displayed"),
        pytest.param(
            "from IPython.display import HTML\n"
            f"display(HTML({HALF}), metadata={{{HALF}: {HALF}}})\n"
            "'shown'",
            "shown",
            id="HTML and metadata",
        ),
        pytest.param(
            "import os; open(b'/mnt/data/\\xff.txt', 'w').close(); os.listdir('/mnt/data')",
            "udcff",
            id="a file name",
        ),
        pytest.param("'漢' * 90_000", "漢漢", id="a long text beyond ASCII"),
        pytest.param("['漢' * 45_000, '字' * 40_000]", "漢漢", id="in a list"),
        pytest.param("print('漢' * 90_000)", "漢漢", id="printed"),
        pytest.param("raise ValueError('漢' * 90_000)", "漢漢", id="raised"),
        pytest.param("'\\0' * 120_000", "\\x00\\x00", id="what JSON escapes"),
        pytest.param(
            "a = []\nfor _ in range(900): a = [a]\na", "recursion", id="a list nested deep"
        ),
        pytest.param("a = {}\nfor _ in range(90): a = {'k': a}\na", "'k': {", id="dictionaries"),
        pytest.param("def f(n): return 1/0 if n == 0 else f(n - 1)\nf(900)", "Zero", id="deep"),
        pytest.param(
            "body = ''.join(f'def f{n}(): f{n + 1}()\\n' for n in range(800))\n"
            "exec(body + 'def f800(): 1/0')\nf0()",
            "ZeroDivisionError: division by zero",
            id="a huge traceback",
        ),
        pytest.param(
            "raise ExceptionGroup('many', [ValueError(n) for n in range(50)])",
            "ExceptionGroup: many (50 sub-exceptions)",
            id="an exception group",
        ),
        pytest.param("exec('1/0')", "File <string>:1", id="a division within exec"),
        pytest.param("def f(): return f()\nf()", "similar frames", id="a recursion"),
        pytest.param(
            "class A:\n    def __getattr__(self, name): return getattr(self, name)\nA().x",
            "RecursionError",
            id="a recursion of getattr",
        ),
    ],
)
async def test_the_kernel_and_its_variables_survive(
    session: PoolClient, code: str, expected: str, body: dict[str, bool]
) -> None:
    await session.result("kept = 5")
    started_s = time.monotonic()
    answer = await session.execute(code, outputStreamsMaxLength=100_000, **body)
    assert time.monotonic() - started_s < 20  # of the 60 that it may take
    assert expected in str(answer["result"]).replace("\\\\", "\\")
    assert (await session.result("kept"))["executionResult"] == 5


async def test_a_recursion_is_reported_in_under_two_seconds(session: PoolClient) -> None:
    await session.execute("1/0")
    answer = await session.execute("def f(n): return g(n)\ndef g(n): return f(n)\nf(0)")
    assert answer["result"]["stderr"].endswith("RecursionError: maximum recursion depth exceeded")
    assert answer["result"]["executionTimeInMilliseconds"] < 2000


async def test_a_traceback_that_is_too_long_keeps_its_end(session: PoolClient) -> None:
    stderr = (await session.execute("raise ValueError('x' * 40_000 + 'end')"))["result"]["stderr"]
    assert stderr.endswith("xxxend")
    assert "characters left out ...]" in stderr


@pytest.mark.parametrize(
    "code", ["input()", "import getpass; getpass.getpass()", "get_ipython().system('{1/0}')"]
)
async def test_no_traceback_shows_the_sandbox(session: PoolClient, code: str) -> None:
    answer = await session.execute(code)
    assert "guest" not in answer["result"]["stderr"]


async def test_a_result_that_was_cut_says_so(session: PoolClient) -> None:
    result = await session.result("'x' * 200_000")
    assert len(result["executionResult"]) == 131_072
    assert "[the last 68,928 characters of the result's 200,000 are left out]" in result["stderr"]


@pytest.mark.parametrize(
    "switch",
    [
        "import matplotlib; matplotlib.use('Agg')",
        "import matplotlib.pyplot as plt; plt.switch_backend('agg')",
        "%matplotlib agg",
        "%matplotlib inline",
        "%matplotlib",
        "%pylab",
        "get_ipython().run_line_magic('matplotlib', 'inline')",
    ],
)
async def test_a_choice_of_backend_does_not_silence_the_next_cell(
    session: PoolClient, switch: str
) -> None:
    await session.result(switch)
    result = await session.result("import matplotlib.pyplot as plt; plt.plot([1]); plt.show()")
    assert result["executionResult"]["type"] == "image"


async def test_tasks_go_on_between_cells_and_end_with_an_interrupt_of_their_cell(
    session: PoolClient,
) -> None:
    await session.result(
        "import asyncio\nasync def later():\n    await asyncio.sleep(0.05)\n    ran.append(1)\n"
        "ran = []\ntask = asyncio.create_task(later())"
    )
    await session.result("import time\nwhile not ran: await asyncio.sleep(0.01)")
    answer = await session.execute("await asyncio.sleep(60)", timeoutInSeconds=1)
    assert "timed out" in answer["result"]["stderr"]
    assert (await session.result("len(ran)"))["executionResult"] == 1


async def test_glyphs_of_china_japan_and_korea_are_drawn(session: PoolClient) -> None:
    drawn = await session.result(
        "import matplotlib.pyplot as plt, io\n"
        "def image(text):\n"
        "    figure = plt.figure(figsize=(1, 1)); figure.text(0, 0.5, text); file = io.BytesIO()\n"
        "    figure.savefig(file); plt.close(figure); return file.getvalue()\n"
        "len({image(text) for text in '漢語日本ひらカナ한국'})"
    )
    assert drawn["executionResult"] == 10
    assert drawn["stderr"] == ""


@pytest.mark.parametrize(
    ("code", "stdout"),
    [
        ("import time; print(time.tzname, time.timezone)", "('UTC', 'UTC') 0\n"),
        ("!date +%Z", "UTC\n"),
        ("!pip --version | cut -d' ' -f4", "/opt/session/packages/pip\n"),
        ("!python -c 'import sys; print(sys.flags.isolated)'", "0\n"),
        ("!python -c 'import pandas; print(pandas.__name__)'", "pandas\n"),
        (
            "import multiprocessing, math\nfor kind in ('fork', 'spawn', 'forkserver'):\n"
            "    with multiprocessing.get_context(kind).Pool(2) as pool:\n"
            "        print(kind, pool.map(math.sqrt, [4.0]))",
            "fork [2.0]\nspawn [2.0]\nforkserver [2.0]\n",
        ),
        (
            "from joblib import Parallel, delayed\n"
            "print(Parallel(n_jobs=2)(delayed(abs)(n) for n in (-1,)))",
            "[1]\n",
        ),
    ],
)
async def test_code_finds_what_it_finds_in_the_service(
    session: PoolClient, code: str, stdout: str
) -> None:
    assert (await session.result(code))["stdout"] == stdout


async def test_pip_installs_from_a_file_and_says_that_there_is_no_network(
    session: PoolClient,
) -> None:
    await session.upload("own_thing-1.0-py3-none-any.whl", _wheel())
    result = await session.result(
        "!pip install --quiet /mnt/data/own_thing-1.0-py3-none-any.whl\nimport own_thing\n"
        "own_thing.value"
    )
    assert result["executionResult"] == 7
    started_s = time.monotonic()
    result = await session.result("!pip install nothing-of-this-name")
    assert "No matching distribution found" in result["stderr"]
    assert time.monotonic() - started_s < 10


async def test_pip_installs_also_where_the_system_keeps_its_python_to_itself(
    session: PoolClient,
) -> None:
    # The marker of https://packaging.python.org/specifications/externally-managed-environments/ is
    # looked for in the standard library's folder, which is read-only here: pip is shown another.
    result = await session.result(
        "import os, pathlib, sysconfig\n"
        "from pip._internal.utils import misc\n"
        "folder = pathlib.Path('/tmp/marked'); folder.mkdir()\n"
        "(folder / 'EXTERNALLY-MANAGED').write_text('[externally-managed]\\nError=no')\n"
        "real = sysconfig.get_path\n"
        "sysconfig.get_path = lambda name, *a, **k: str(folder)\n"
        "try:\n    misc.check_externally_managed(); marked = False\n"
        "except Exception: marked = True\n"
        "sysconfig.get_path = real\n"
        "from pip._internal.commands import create_command\n"
        "options, _ = create_command('install').parse_args(['x'])\n"
        "[marked, options.override_externally_managed]"
    )
    assert result["executionResult"] == [True, True]


async def test_the_packages_of_the_measured_list_work(session: PoolClient) -> None:
    result = await session.result(
        "import io, pandas, statsmodels.api, reportlab.pdfgen.canvas, jinja2, requests, pyarrow\n"
        "file = io.BytesIO(); pandas.DataFrame({'n': [1]}).to_parquet(file)\n"
        "assert list(pandas.read_parquet(file)['n']) == [1]\n"
        "print(jinja2.Template('{{ 6 * 7 }}').render())\n"
        "print(statsmodels.api.OLS([1.0, 2.0], [1.0, 2.0]).fit().params.round(3))"
    )
    assert result["stdout"] == "42\n[1.]\n"


def _wheel() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as wheel:
        info = "own_thing-1.0.dist-info"
        wheel.writestr("own_thing.py", "value = 7\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: own-thing\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return file.getvalue()
