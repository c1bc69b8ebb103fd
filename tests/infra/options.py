"""The table of docs/deploy.md: what `azd env set` takes, written from infra/ itself."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tests.support import PROJECT
from tests.support.bicep import INFRA

DEPLOY_PAGE = PROJECT / "docs/deploy.md"

# Asked for by azd, and filled in by azd after a deployment.
NOT_OPTIONS = {
    "environmentName",
    "location",
    "containerImage",
    "deployedFunctionApp",
    "deployedNetworking",
}
VARIABLE_OF = {
    parameter: re.sub(r"\$\{(\w+).*", r"\1", entry["value"])
    for parameter, entry in json.loads((INFRA / "main.parameters.json").read_text())[
        "parameters"
    ].items()
}

_HEAD = "| azd | Parameter | Default | What it does |\n|---|---|---|---|\n"
_TABLE = re.compile(re.escape(_HEAD) + r"(?:\|.*\n)+")


def options_table(template: Mapping[str, Any]) -> str:
    """One row per option, in the order of main.parameters.json.

    Args:
        template: infra/main.bicep as the compiler writes it: defaults and descriptions.
    """
    rows = []
    for parameter, variable in VARIABLE_OF.items():
        if parameter in NOT_OPTIONS:
            continue
        declared = template["parameters"][parameter]
        value = declared["defaultValue"]
        default = str(value).lower() if isinstance(value, bool) else str(value)
        shown = f" `{default}`" if default and value != {} else ""
        text = declared["metadata"]["description"].replace("|", "\\|")
        choices = [f"`{choice}`" for choice in _choices(template, declared) if choice != ""]
        if choices and not isinstance(value, bool):
            text += f" One of {', '.join(choices)}."
        rows.append(f"| `{variable}` | `{parameter}` |{shown} | {text} |\n")
    return _HEAD + "".join(rows)


def _choices(template: Mapping[str, Any], declared: Mapping[str, Any]) -> Sequence[object]:
    """The values that a parameter takes, declared in its place or in a type of its own."""
    reference = declared.get("$ref")
    declaration = template["definitions"][reference.rpartition("/")[2]] if reference else declared
    found: Sequence[object] = declaration.get("allowedValues", ())
    return found


def table_of(page: str) -> str:
    """The table as the page has it."""
    (table,) = _TABLE.findall(page)
    return str(table)


def with_table(page: str, table: str) -> str:
    """The page with this table in place of its own."""
    return page.replace(table_of(page), table)
