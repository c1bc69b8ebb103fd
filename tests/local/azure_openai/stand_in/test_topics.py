"""The code that the stand-in writes is run here, with the packages that sessions have."""

import ast
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from local.azure_openai.stand_in.model import TOPICS
from local.azure_openai.stand_in.plans import Plan, Question
from local.session_pool.image.prepare import prepare_session_image

ANSWERS = {
    "what is 2**64 / 3": "18446744073709551616/3 = 6148914691236517205.3 (20 digits)",
    "What is 2 + 2?": "4",
    "What is 15% of 80?": "12",
    "Compute 0.1 + 0.2": "3/10 = 0.30000000000000000000 (20 digits)",
    "How much is 12 divided by 4 plus 1?": "4",
    "what is the square root of 49": "7",
    "what is 5!": "120",
    "what is 1/0?": "zoo",
    "solve x^2-5x+6=0": "x = 2, x = 3",
    "Solve 3y + 4 = 19 for y.": "y = 5",
    "Please solve x = x + 1": "no solution",
    "What is the derivative of sin(x)*x?": "x*cos(x) + sin(x)",
    "differentiate t^2*exp(t)": "t**2*exp(t) + 2*t*exp(t)",
    "integrate sin(x) dx": "-cos(x)",
    "integrate x^2 from 0 to 1": "1/3",
    "What is the integral of exp(-x^2) from -infinity to oo?": "sqrt(pi)",
    "factor x^2 - 1": "(x - 1)*(x + 1)",
    "factorise 360": "2**3 * 3**2 * 5**1",
    "expand (a+b)^2": "a**2 + 2*a*b + b**2",
    "simplify (x^2-1)/(x-1)": "x + 1",
    "```python\nprint('as it is')\n```": "as it is",
}
# Runs many programs in one interpreter, as importing SymPy takes longer than they do.
RUNNER = """
import contextlib, io, json, sys
sys.path.insert(0, sys.argv[1])
outputs = []
for code in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(compile(code, "<code>", "exec"), {})
    outputs.append(output.getvalue().strip())
print(json.dumps(outputs))
"""


def plan(text: str, context: str = "") -> Plan | None:
    question = Question(text, context)
    return next((found for topic in TOPICS if (found := topic(question)) is not None), None)


def run(codes: Sequence[str], folder: Path) -> list[str]:
    packages = prepare_session_image() / "packages"
    finished = subprocess.run(
        [sys.executable, "-I", "-c", RUNNER, str(packages)],
        input=json.dumps(codes),
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={"MPLBACKEND": "agg", "MPLCONFIGDIR": str(folder)},
    )
    outputs = json.loads(finished.stdout)
    assert isinstance(outputs, list)
    return outputs


def test_written_code_computes_the_right_answers(tmp_path: Path) -> None:
    plans = [plan(question) for question in ANSWERS]
    codes = [found.code for found in plans if found is not None]
    assert dict(zip(ANSWERS, run(codes, tmp_path), strict=True)) == ANSWERS


def test_written_code_tells_the_time_of_the_session(tmp_path: Path) -> None:
    found = plan("What is the current date and time?")
    assert found is not None
    [output] = run([found.code], tmp_path)
    assert output.endswith(" UTC")
    assert len(output.split(", ")) == 3


def test_written_code_draws_the_function_over_the_range(tmp_path: Path) -> None:
    found = plan("Plot sin(x) from 0 to 2*pi")
    assert found is not None
    look = (
        "figure = plt.gcf()\n"
        "[line] = figure.axes[0].lines\n"
        "print(len(line.get_xdata()), round(line.get_xdata()[-1], 3),"
        " round(max(line.get_ydata()), 2), figure.axes[0].get_title())\n"
    )
    [output] = run([found.code.replace("plt.show()\n", look)], tmp_path)
    assert output == "500 6.283 1.0 sin(x)"


def test_written_code_looks_into_the_csv_file(tmp_path: Path) -> None:
    found = plan("What is in sales.csv?")
    assert found is not None
    (tmp_path / "sales.csv").write_text("month,amount\njan,10\nfeb,30\n")
    [output] = run([found.code.replace("/mnt/data/", f"{tmp_path}/")], tmp_path)
    assert output.startswith("2 rows, 2 columns")
    assert "20.0" in output  # the mean


@pytest.mark.parametrize(
    "question",
    [
        "What is the current date and time?",
        "what time is it",
        "What's the date today?",
        "Tell me the current time.",
        "what day is it?",
    ],
)
def test_questions_about_date_and_time_are_recognised(question: str) -> None:
    found = plan(question)
    assert found is not None
    assert found.lead == "The current date and time is"


@pytest.mark.parametrize(
    ("text", "context", "name"),
    [
        ("Describe data.csv", "", "data.csv"),
        ("What is in 'my data.csv'?", "", "my data.csv"),
        ("Summarize the file", "Uploaded: a.csv, then sales-2024.csv.", "sales-2024.csv"),
    ],
)
def test_file_is_found_in_the_question_or_before_it(text: str, context: str, name: str) -> None:
    found = plan(text, context)
    assert found is not None
    assert repr(name) in found.code


@pytest.mark.parametrize(
    "question",
    [
        "",
        "Hello!",
        "What is the meaning of life?",
        "What is the time complexity of sorting?",
        "solve my problem",
        "plot a histogram of my data",
        "integrate the two systems",
        "what is 1.5.2.x",
        "calculate " + "9" * 1000,
        "```python\n\n```",
    ],
)
def test_what_is_not_understood_is_left_alone(question: str) -> None:
    assert plan(question) is None


@pytest.mark.parametrize(
    ("benign", "hostile"),
    [
        ("solve x = 1", "solve x = 1'); __import__('os').system('id'); ('"),
        ("solve x = 1", "solve x = exit()"),
        ("what is 1+1", "what is 1+1, __import__('os')"),
        ("what is 1+1", "what is 1+1\nimport os"),
        ("plot x", "plot x'''); import os; (''' from 0 to 1"),
        ("plot x from 0 to 1", "plot x from 0 to 1);import(os"),
        ("plot x", "plot {expression} from {low} to {high}"),
        ("describe a.csv", "describe 'a\\'); import os; (\\'.csv'"),
        ("describe a.csv", "describe '{name}.csv'"),
        ("describe a.csv", "describe '../../etc/a.csv'"),
        ("integrate x from 0 to 1", "integrate x from 0 to 1)),print(1"),
        ("factor 12", "factor 12)\nprint(1"),
        ("derivative of x", "derivative of x with respect to os.system"),
    ],
)
def test_hostile_text_never_becomes_a_piece_of_the_program(benign: str, hostile: str) -> None:
    def shape(text: str) -> str | None:
        found = plan(text)
        if found is None:
            return None
        tree = ast.parse(found.code)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant):
                node.value = "literal"
        return ast.dump(tree)

    assert shape(benign) is not None
    assert shape(hostile) in (None, shape(benign))


def test_file_name_cannot_leave_the_sessions_folder() -> None:
    found = plan("describe '../../etc/secrets.csv'")
    assert found is not None
    assert "'secrets.csv'" in found.code
    assert ".." not in found.code


def test_long_hostile_text_costs_no_time() -> None:
    started = time.process_time()
    for text in (
        "plot " * 20_000,
        "(" * 100_000,
        "what is " + "1+" * 50_000,
        "a.csv'" * 20_000,
        "integrate " + "from 1 to " * 10_000,
        "```python\n" * 10_000,
        " ".join("a" * 30_000),
    ):
        plan(text)
        plan("integrate " + text + " from 0")
        plan("describe the file", text)
    assert time.process_time() - started < 5
