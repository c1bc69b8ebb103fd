"""docs/ name only parameters, variables and outputs that exist, and every option."""

import re
from typing import Any

import pytest

from tests.infra.options import NOT_OPTIONS, VARIABLE_OF, options_table, table_of
from tests.infra.prediction import PREDICTIONS
from tests.support import PROJECT

DOCS = {name: (PROJECT / "docs" / name).read_text() for name in ("deploy.md", "verify-on-azure.md")}
OUTPUTS = set(PREDICTIONS["default"].outputs)


def test_table_of_options_is_the_one_that_infra_writes(template: dict[str, Any]) -> None:
    # After a change that was meant: python -m tests.infra
    assert table_of(DOCS["deploy.md"]) == options_table(template)


def test_table_of_options_has_every_option_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", table_of(DOCS["deploy.md"]), re.MULTILINE)

    assert {parameter: variable for variable, parameter in rows} == {
        name: variable for name, variable in VARIABLE_OF.items() if name not in NOT_OPTIONS
    }


@pytest.mark.parametrize("document", DOCS)
def test_names_that_commands_use_exist(document: str) -> None:
    text = DOCS[document]
    read = set(re.findall(r"azd env get-value (\w+)|\$\(output (\w+)\)", text))
    written = set(re.findall(r"azd env set (\w+)", text))
    given = set(re.findall(r"\b(\w+)=\S+", " ".join(re.findall(r"--parameters (\w+=.*)", text))))

    outputs = {name for pair in read for name in pair if name}

    assert "API_URL" in outputs
    assert "SIGN_IN_CLIENT_ID" in written
    assert outputs - OUTPUTS == set()
    assert written - set(VARIABLE_OF.values()) == set()
    assert given == ({"environmentName", "location"} if document == "deploy.md" else set())
    assert given - VARIABLE_OF.keys() == set()


def test_each_output_is_used_by_a_command_or_by_the_next_deployment() -> None:
    text = DOCS["deploy.md"] + str(VARIABLE_OF)

    assert {name for name in OUTPUTS if name not in text} == set()
