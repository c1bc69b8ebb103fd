"""What is kept out of the process: never used in a turn, and there for everybody else."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Watched:
    """What tests/agent/model/watch_lean_imports.py saw.

    Attributes:
        ended: how each turn ended.
        while_importing: every call of, isinstance() with and attribute read from a stand-in, also
            one whose error somebody swallowed.
        while_answering: likewise.
        modules: loaded in the end.
    """

    ended: dict[str, str]
    while_importing: list[str]
    while_answering: list[str]
    modules: list[str]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def watched() -> Watched:
    finished = run("-m", "tests.agent.model.watch_lean_imports")
    assert finished.returncode == 0, finished.stderr
    return Watched(**json.loads(finished.stdout))


def test_turns_use_no_stand_in(watched: Watched) -> None:
    assert watched.while_importing, "the watch sees nothing"
    assert watched.while_answering == []


def test_the_watched_turns_end_as_they_should(watched: Watched) -> None:
    errors = {
        "throttled": "ModelThrottled",
        "failed": "ModelFailed",
        "prompt filtered": "ContentFiltered",
        "cut": "ModelAnswerCut",
    }
    answers = {name: end for name, end in watched.ended.items() if name not in errors}
    assert {name: watched.ended[name] for name in errors} == errors
    assert answers.pop("answer filtered") == ""
    assert len(answers) == 8
    assert set(answers.values()) == {"Two."}


def test_the_unused_is_not_loaded(watched: Watched) -> None:
    heavy = {"pybars", "pymeta", "numpy", "jinja2", "yaml", "httpx", "aiortc", "av", "scipy"}
    heavy |= {"defusedxml", "semantic_kernel.prompt_template.prompt_template_config"}
    assert {"semantic_kernel", "openai"} <= set(watched.modules)
    assert heavy & set(watched.modules) == set()


def test_models_of_apis_are_not_loaded(watched: Watched) -> None:
    types = [name for name in watched.modules if name.startswith("openai.types.")]
    assert "openai.types.shared" in types, "what the client's own errors name"
    assert "openai.types.chat" not in types, "answers are read as JSON"
    assert len(types) < 5
    assert not [name for name in watched.modules if "realtime" in name]


def test_using_a_stand_in_says_what_it_is() -> None:
    finished = run(
        "-c",
        "from agent.model.lean_imports import lean_imports\n"
        "with lean_imports():\n    from pybars import Compiler\nCompiler()",
    )
    assert "NotImplementedError: Compiler is not part of this app" in finished.stderr


def test_stand_ins_leave_with_the_block() -> None:
    finished = run(
        "-c",
        "import sys\nfrom agent.model.lean_imports import lean_imports, UNUSED\n"
        "assert UNUSED\n"
        "with lean_imports():\n    assert not UNUSED.keys() - sys.modules.keys()\n"
        "assert not UNUSED.keys() & sys.modules.keys()",
    )
    assert finished.returncode == 0, finished.stderr
