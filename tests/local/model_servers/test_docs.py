"""What docs/local-model.md says is so."""

import re

from local.azure_openai.relay import MAX_TOKENS, Relay
from local.model_servers import OpenModel, checking
from local.model_servers.finding import Found
from local.model_servers.kinds import KINDS, LLAMA_CPP
from local.model_servers.llama_server import _BOUNDS
from local.model_servers.naming import read_wish
from tests.support import PROJECT

PAGE = (PROJECT / "docs" / "local-model.md").read_text()
ROWS = [
    [cell.strip().strip("`") for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ")
]


def table(head: str) -> list[list[str]]:
    """The rows below a table's head, up to the next head."""
    start = next(number for number, row in enumerate(ROWS) if row[0] == head)
    heads = ("LOCAL_MODEL=", "Variable", "Server")
    rest = ROWS[start + 1 :]
    end = next((number for number, row in enumerate(rest) if row[0] in heads), len(rest))
    return rest[:end]


def test_its_servers_are_those_that_are_known() -> None:
    rows = table("LOCAL_MODEL=")
    assert [row[:3] for row in rows[:4]] == [
        [kind.name, kind.title, f"127.0.0.1:{kind.port}"] for kind in KINDS
    ]
    for kind, row in zip(KINDS, rows, strict=False):
        assert f"start it with `{row[3]}`" in kind.start
    assert read_wish(rows[5][0]).file is not None


def test_its_commands_widen_a_context() -> None:
    values = {"tokens": checking._WIDER_TOKENS, "model": "MODEL"}
    assert table("Server") == [[kind.title, kind.widen.format(**values)] for kind in KINDS]


def test_its_example_says_what_the_program_says() -> None:
    example = PAGE.split("```text\n")[1].split("```")[0]
    name = "SmolLM2-135M-Instruct.Q4_1"
    assert f"llama-server loads {name}.gguf …\n" in example
    relay = Relay("http://127.0.0.1:43145/v1", name)
    assert f"The model is {OpenModel(relay, Found(LLAMA_CPP, relay.url, ()))}.\n" in example
    assert f"{name} does not call tools: its answers will be guesses.\n" in example


def test_its_variables_and_bounds_are_those_that_are_read() -> None:
    source = (PROJECT / "local/model_servers/opening.py").read_text()
    read = set(re.findall(r'"(LOCAL_MODEL\w*)"', source)) - {"LOCAL_MODEL_URL"}
    assert {row[0] for row in table("Variable")} == read
    assert table("Variable")[3][1] == str(MAX_TOKENS)
    assert f"less than {checking.ROOMY_TOKENS:,} tokens" in PAGE
    context, answer = (f"{int(bound):,}" for bound in _BOUNDS.values())
    assert f"context of {context} tokens and answers of {answer} at most" in PAGE.replace("\n", " ")
