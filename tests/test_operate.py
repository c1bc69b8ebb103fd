"""The queries of docs/operate.md name columns that exist and values that the app writes."""

import re

import pytest

from agent import errors
from agent.telemetry import calls, turns
from agent.telemetry.metrics import METRICS
from tests.support import PROJECT

TEXT = (PROJECT / "docs/operate.md").read_text()
QUERIES = re.findall(r"```kusto\n(.*?)```", TEXT, re.DOTALL)
# https://learn.microsoft.com/azure/azure-monitor/reference/tables/appdependencies, and so on.
SHARED = {"ItemCount", "Name", "OperationId", "Properties", "TimeGenerated", "Type"}
COLUMNS = {
    "AppDependencies": SHARED | {"DurationMs", "ResultCode"},
    "AppRequests": SHARED | {"DurationMs", "ResultCode"},
    "AppTraces": (SHARED | {"Message"}) - {"Name"},
    "AppExceptions": (SHARED | {"OuterMessage"}) - {"Name"},
    "AppMetrics": (SHARED | {"Max", "Min", "Sum"}),
}


def test_there_are_five_questions() -> None:
    assert len(QUERIES) == 5


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_names_columns_of_its_tables(query: str) -> None:
    plain = re.sub(r'"[^"]*"', "", query)
    tables = {name for name in COLUMNS if re.search(rf"\b{name}\b", plain)}
    columns = set(re.findall(r"\b[A-Z][A-Za-z]+\b", plain)) - tables
    assert tables
    known = {column for table in tables for column in COLUMNS[table]}
    assert columns - known == set()


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_names_attributes_metrics_and_codes_of_the_app(query: str) -> None:
    source = "".join(
        (PROJECT / f"agent/telemetry/{module}.py").read_text() for module in ("calls", "turns")
    )
    codes = {
        error.code
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.AgentError)
    }
    attributes = set(re.findall(r'Properties\["([^"]+)"\]', query))
    names = set(re.findall(r'"((?:code_interpreter|gen_ai)\.[^"]+)"', query)) - attributes
    assert {name for name in attributes if f'"{name}"' not in source} == set()
    assert names <= set(METRICS)
    assert set(re.findall(r'"((?:Model|Pool)[A-Z]\w+)"', query)) <= codes
    for start in re.findall(r'startswith "(\w+)', query):
        assert start in ("chat", "execute_tool", f"invoke_agent {turns.AGENT}".split()[0]), start
    assert calls.TOOL == "execute_python"
