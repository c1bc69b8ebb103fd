"""What code in a session can do, and how its outcome reads."""

import asyncio
import base64
import tempfile
import time

import pytest

from tests.support.pool_client import UNTIL_GO, PoolClient

pytestmark = pytest.mark.asyncio(loop_scope="session")

PNG = b"\x89PNG\r\n\x1a\n"


async def test_prints_arrive_as_stdout(session: PoolClient) -> None:
    result = await session.result("print(7 * 9)")
    assert result["stdout"] == "63\n"
    assert result["stderr"] == ""
    assert result["executionResult"] == ""


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("1 + 1", 2),
        ("'text'", "text"),
        ("0.5", 0.5),
        ("True", True),
        ("a = None; a", None),
        ("a = float('nan'); a", "nan"),
        ("float('inf')", "inf"),
        ("[1, 'two', None]", [1, "two", None]),
        ("{'a': {'b': 1}}", {"a": {"b": 1}}),
        ("x = 1", ""),
        ("2 ** 70", 2**70),
        ("1;", ""),
        ("{1, 1}", "{1}"),
        ("[float('nan')]", "[nan]"),
        ("import pandas; pandas.DataFrame({'n': [1]})", "   n\n0  1"),
        ("import numpy; numpy.int64(3)", "np.int64(3)"),
        ("import numpy; numpy.float64(3.5)", 3.5),
        ("a = []; a.append(a); a", "[[...]]"),
    ],
)
async def test_the_last_expression_is_the_result(
    session: PoolClient, code: str, value: object
) -> None:
    assert (await session.result(code))["executionResult"] == value


async def test_variables_stay_until_the_next_execution(session: PoolClient) -> None:
    await session.result("x = 41")
    assert (await session.result("x + 1"))["executionResult"] == 42


async def test_sessions_share_neither_variables_nor_files(session: PoolClient) -> None:
    await session.result("x = 1; open('/mnt/data/mine', 'w').close()")
    other = session.of()
    assert (await other.execute("x"))["status"] == "Failed"
    assert (await other.result("import os; os.listdir('/mnt/data')"))["executionResult"] == []


async def test_random_numbers_differ_between_sessions(session: PoolClient) -> None:
    draw = "import random, numpy; (random.random(), float(numpy.random.rand()))"
    first = (await session.result(draw))["executionResult"]
    second = (await session.of().result(draw))["executionResult"]
    assert first[0] != second[0]
    assert first[1] != second[1]


async def test_code_that_raises_is_a_failed_execution_with_its_traceback(
    session: PoolClient,
) -> None:
    answer = await session.execute("print('before')\n{}['sales_amount']")
    assert answer["status"] == "Failed"
    assert answer["result"]["stdout"] == "before\n"
    assert "KeyError: 'sales_amount'" in answer["result"]["stderr"]
    assert "\x1b[" not in answer["result"]["stderr"]


async def test_code_that_is_not_python_fails_with_its_reason(session: PoolClient) -> None:
    answer = await session.execute("def (")
    assert answer["status"] == "Failed"
    assert "SyntaxError" in answer["result"]["stderr"]


async def test_a_warning_on_stderr_is_no_failure(session: PoolClient) -> None:
    result = await session.result("import warnings; warnings.warn('careful')")
    assert "careful" in result["stderr"]


async def test_a_figure_is_an_image_result(session: PoolClient) -> None:
    result = await session.result("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()")
    image = result["executionResult"]
    assert (image["type"], image["format"]) == ("image", "png")
    assert base64.b64decode(image["base64_data"]).startswith(PNG)


async def test_of_several_figures_the_last_is_the_result_and_jupyter_format_has_all(
    session: PoolClient,
) -> None:
    code = (
        "import matplotlib.pyplot as plt\n"
        "for n in (1, 2):\n    plt.figure(figsize=(n, 1)); plt.plot([n]); plt.show()"
    )
    last = (await session.result(code))["executionResult"]
    outputs = (await session.result(code, returnJupyterFormatExecutionResult=True))[
        "executionResult"
    ]
    images = [output["data"]["image/png"] for output in outputs]
    assert len(images) == 2
    assert images[0] != images[1]
    assert last["base64_data"] == images[1]


async def test_a_large_image_arrives_whole(session: PoolClient) -> None:
    result = await session.result(
        "import numpy, PIL.Image\n"
        "PIL.Image.fromarray(numpy.random.randint(0, 255, (800, 800, 3), dtype='uint8'))"
    )
    image = base64.b64decode(result["executionResult"]["base64_data"])
    assert len(image) > 1_000_000
    assert image.endswith(b"IEND\xaeB`\x82")


async def test_await_works_at_the_top_level(session: PoolClient) -> None:
    result = await session.result("import asyncio\nawait asyncio.sleep(0.01)\n'awaited'")
    assert result["executionResult"] == "awaited"


async def test_shell_commands_run(session: PoolClient) -> None:
    assert (await session.result("!echo $((6 * 7))"))["stdout"] == "42\n"


async def test_input_is_refused(session: PoolClient) -> None:
    answer = await session.execute("input('name? ')")
    assert answer["status"] == "Failed"
    assert "does not support input requests" in answer["result"]["stderr"]


@pytest.mark.parametrize("leave", ["exit()", "quit()", "import sys; sys.exit(1)"])
async def test_the_kernel_survives_exit(session: PoolClient, leave: str) -> None:
    await session.result("x = 1")
    await session.execute(leave)
    assert (await session.result("x"))["executionResult"] == 1


@pytest.mark.parametrize("end", ["import os; os._exit(1)", "import ctypes; ctypes.string_at(0)"])
async def test_a_kernel_that_ends_is_replaced_and_files_stay(session: PoolClient, end: str) -> None:
    await session.result("x = 1; open('/mnt/data/kept.txt', 'w').write('kept')")
    guid = (await session.request("GET", "session")).json()["etag"]
    answer = await session.execute(end)
    assert answer["status"] == "Failed"
    assert answer["result"]["stderr"].startswith("Kernel restarted")
    assert (await session.execute("x"))["status"] == "Failed"
    content = await session.result("open('/mnt/data/kept.txt').read()")
    assert content["executionResult"] == "kept"
    assert (await session.request("GET", "session")).json()["etag"] == guid


async def test_streams_are_cut_at_4096_characters_without_a_marker(session: PoolClient) -> None:
    code = "import sys; print('é' * 5000); print('b' * 5000, file=sys.stderr)"
    result = await session.result(code)
    assert result["stdout"] == "é" * 4096
    assert result["stderr"] == "b" * 4096


async def test_output_streams_max_length_sets_where_streams_are_cut(session: PoolClient) -> None:
    result = await session.result("print('a' * 9000)", outputStreamsMaxLength=8000)
    assert result["stdout"] == "a" * 8000


async def test_late_output_of_a_thread_joins_the_next_execution(session: PoolClient) -> None:
    await session.result(
        "import threading\n"
        "go, done = threading.Event(), threading.Event()\n"
        "def late():\n    go.wait(); print('late'); done.set()\n"
        "threading.Thread(target=late).start()"
    )
    result = await session.result("go.set(); done.wait()\nprint('next')")
    assert result["stdout"] == "late\nnext\n"


async def test_base64_code_runs(session: PoolClient) -> None:
    code = base64.b64encode(b"print('decoded')").decode()
    assert (await session.result(code, codeInputType="InlineBase64"))["stdout"] == "decoded\n"


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "import time; time.sleep(60)",
        "import asyncio; await asyncio.sleep(60)",
        "!sleep 60",
    ],
)
async def test_code_that_takes_too_long_is_interrupted_and_state_stays(
    session: PoolClient, code: str
) -> None:
    await session.result("x = 5")
    started_s = time.monotonic()
    answer = await session.execute(f"print('began')\n{code}", timeoutInSeconds=1)
    assert time.monotonic() - started_s < 10
    assert answer["status"] == "Failed"
    assert answer["result"]["stdout"] == "began\n"
    assert "Request timed out waiting for code execution to complete" in answer["result"]["stderr"]
    assert (await session.result("x"))["executionResult"] == 5


async def test_code_that_cannot_be_interrupted_loses_its_kernel(session: PoolClient) -> None:
    await session.result("x = 5")
    started_s = time.monotonic()
    answer = await session.execute(
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
        timeoutInSeconds=1,
    )
    assert time.monotonic() - started_s < 20
    assert "Request timed out" in answer["result"]["stderr"]
    assert (await session.execute("x"))["status"] == "Failed"


async def test_a_pending_task_does_not_go_on_inside_the_next_execution(
    session: PoolClient,
) -> None:
    await session.execute(
        "import asyncio\nasync def f():\n    await asyncio.sleep(1.5); print('again')\nawait f()",
        timeoutInSeconds=1,
    )
    assert (await session.result("await asyncio.sleep(1)"))["stdout"] == ""


async def test_executions_of_a_session_run_one_after_the_other(session: PoolClient) -> None:
    await session.result("import time; log = []")
    step = "log.append(({n}, 'in')); time.sleep(0.05); log.append(({n}, 'out'))"
    await asyncio.gather(*(session.result(step.format(n=n)) for n in range(4)))
    log = (await session.result("[list(entry) for entry in log]"))["executionResult"]
    assert [entry[1] for entry in log] == ["in", "out"] * 4
    assert [entry[0] for entry in log[::2]] == [entry[0] for entry in log[1::2]]


async def test_an_execution_queued_behind_one_that_times_out_is_aborted(
    session: PoolClient,
) -> None:
    await session.result("import time")
    first = await session.begin("time.sleep(60)", timeoutInSeconds=1)
    second = await session.execute("1")
    assert "timed out" in (await first).json()["result"]["stderr"]
    assert second["status"] == "Failed"
    assert second["result"]["stderr"] == "Execution aborted"


async def test_waiting_for_a_turn_counts_as_time(session: PoolClient) -> None:
    first = await session.begin(UNTIL_GO)
    second = await session.execute("1", timeoutInSeconds=1)
    assert "timed out" in second["result"]["stderr"]
    await session.upload("go", b"")
    assert (await first).json()["result"]["executionResult"] is True


async def test_sessions_execute_at_the_same_time(session: PoolClient) -> None:
    sessions = [session.of() for _ in range(8)]
    running = [await each.begin(UNTIL_GO) for each in sessions]
    assert not any(each.done() for each in running)
    for each in sessions:
        await each.upload("go", b"")
    assert [(await each).json()["result"]["executionResult"] for each in running] == [True] * 8


async def test_an_empty_kernel_has_its_own_variables_and_the_same_files(
    session: PoolClient,
) -> None:
    await session.result("x = 1; open('/mnt/data/shared', 'w').close()")
    assert (await session.execute("x", useEmptyKernel=True))["status"] == "Failed"
    listed = await session.result("import os; os.listdir('/mnt/data')", useEmptyKernel=True)
    assert listed["executionResult"] == ["shared"]
    assert (await session.result("x"))["executionResult"] == 1


async def test_the_documented_packages_are_there(session: PoolClient) -> None:
    await session.result(
        "import numpy, pandas, matplotlib, scipy.stats, sympy, openpyxl, PIL, seaborn\n"
        "import sklearn.linear_model, tabulate, networkx, docx, pptx, lxml, bs4, xlsxwriter"
    )


async def test_a_child_process_finds_the_same_packages(session: PoolClient) -> None:
    result = await session.result("!python3 -c 'import numpy; print(numpy.arange(3).sum())'")
    assert result["stdout"] == "3\n"


async def test_packages_of_the_machines_own_python_are_none_of_a_session(
    session: PoolClient,
) -> None:
    listed = (
        "import os, site, sys\n"
        "folders = filter(os.path.isdir, site.getsitepackages([sys.base_prefix]))\n"
        "names = [name for folder in folders for name in os.listdir(folder)]"
    )
    outside: dict[str, list[str]] = {}
    exec(listed, outside)  # noqa: S102 - the three lines above, outside: the control that there is something to be found
    assert outside["names"]
    assert (await session.result(f"{listed}\nnames"))["executionResult"] == []


async def test_the_working_folder_is_not_the_data_folder(session: PoolClient) -> None:
    result = await session.result("import os; os.getcwd() != '/mnt/data'")
    assert result["executionResult"] is True


async def test_a_disk_that_takes_no_outputs_is_an_error_at_once(
    session: PoolClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from IPython.display import display\ndisplay({'image/png': b'x' * 600_000}, raw=True)"
    body = {"code": code, "timeoutInSeconds": 30}
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    started_s = time.monotonic()
    response = await session.request("POST", "executions", json=body)
    assert response.status_code == 507
    assert response.json()["error"]["code"] == "InsufficientStorage"
    assert time.monotonic() - started_s < 10
    monkeypatch.undo()
    result = await session.result(code)
    assert result["executionResult"]["type"] == "image"
    assert "Kernel restarted" in result["stderr"]
