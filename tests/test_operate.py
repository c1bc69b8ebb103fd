"""Queries of docs/operate.md and the workbook name columns that exist and what the app writes."""

import json
import re

import pytest

from agent import errors
from agent.telemetry import calls, turns
from agent.telemetry.metrics import METRICS
from tests.support import PROJECT

TEXT = (PROJECT / "docs/operate.md").read_text()
QUESTIONS = re.findall(r"```kusto\n(.*?)```", TEXT, re.DOTALL)
WORKBOOK = json.loads((PROJECT / "infra/modules/workbook.json").read_text())
QUERIES = [*QUESTIONS, *(item["content"]["query"] for item in WORKBOOK["items"])]
# https://learn.microsoft.com/azure/azure-monitor/reference/tables/appdependencies, and so on.
SHARED = {"ItemCount", "Name", "OperationId", "Properties", "TimeGenerated", "Type"}
COLUMNS = {
    "AppDependencies": SHARED | {"DurationMs", "ResultCode", "Success"},
    "AppRequests": SHARED | {"DurationMs", "ResultCode"},
    "AppTraces": (SHARED | {"Message"}) - {"Name"},
    "AppExceptions": (SHARED | {"OuterMessage"}) - {"Name"},
    "AppMetrics": (SHARED | {"Max", "Min", "Sum"}),
}


def test_there_are_five_questions() -> None:
    assert len(QUESTIONS) == 5


def test_the_workbook_shows_what_an_operator_asks() -> None:
    parts = [item["name"] for item in WORKBOOK["items"]]
    assert parts == ["turns", "failures", "latency", "tokens", "sessions", "cost"]


def test_its_cost_estimate_has_the_list_prices() -> None:
    prices = json.loads((PROJECT / "bench/prices.json").read_text())["model"]
    query = WORKBOOK["items"][-1]["content"]["query"]
    assert f"let input_price = {prices['input_per_million_tokens']};" in query
    assert f"let output_price = {prices['output_per_million_tokens']};" in query


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_names_columns_of_its_tables(query: str) -> None:
    plain = re.sub(r'"[^"]*"|//.*', "", query).replace("USD", "")
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
