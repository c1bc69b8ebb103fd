"""docs/ name only parameters, variables and outputs that exist, and every option."""

import json
import re
from typing import Any

import pytest

from tests.infra.prediction import PREDICTIONS
from tests.support import PROJECT
from tests.support.bicep import INFRA

DOCS = {name: (PROJECT / "docs" / name).read_text() for name in ("deploy.md", "verify-on-azure.md")}
OUTPUTS = set(PREDICTIONS["default"].outputs)
VARIABLE_OF = {
    parameter: re.sub(r"\$\{(\w+).*", r"\1", entry["value"])
    for parameter, entry in json.loads((INFRA / "main.parameters.json").read_text())[
        "parameters"
    ].items()
}
# Asked for by azd, and filled in by azd after a deployment.
NOT_OPTIONS = {
    "environmentName",
    "location",
    "containerImage",
    "deployedFunctionApp",
    "deployedNetworking",
}


def test_table_of_options_has_every_option_with_its_variable_and_its_default(
    template: dict[str, Any],
) -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.*?) \|", DOCS["deploy.md"], re.MULTILINE)
    options = {n: v for n, v in VARIABLE_OF.items() if n not in NOT_OPTIONS}

    assert {parameter: variable for variable, parameter, _ in rows} == options
    for _, parameter, told in rows:
        default = template["parameters"][parameter]["defaultValue"]
        text = str(default).lower() if isinstance(default, bool) else str(default)
        # Where the template says nothing, a word may say what that means.
        assert told.strip("`") == text or default in ("", {}), parameter


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
