"""Queries of docs/operate.md, workbook and alerts fit the tables and what the app writes."""

import json
import re

import pytest

from agent import errors
from agent.telemetry import turns
from agent.telemetry.metrics import METRICS
from tests.support import PROJECT, kusto

TEXT = (PROJECT / "docs/operate.md").read_text()
QUESTIONS = re.findall(r"```kusto\n(.*?)```", TEXT, re.DOTALL)
WORKBOOK = json.loads((PROJECT / "infra/modules/workbook.json").read_text())
SHOWN = [item["content"]["query"] for item in WORKBOOK["items"]]
BICEP = (PROJECT / "infra/modules/operations.bicep").read_text()
TURNS = re.findall(r"^var turns = '(.*)'$", BICEP, re.MULTILINE)[0]
ALERTS = [
    query.replace("${turns}", TURNS)
    for query in re.findall(r"^ +query: '(.*)'$", BICEP, re.MULTILINE)
]
QUERIES = [*QUESTIONS, *SHOWN, *ALERTS]


def test_there_are_five_questions_and_three_alerts() -> None:
    assert len(QUESTIONS) == 5
    assert len(ALERTS) == 3


def test_the_workbook_shows_what_an_operator_asks() -> None:
    parts = [item["name"] for item in WORKBOOK["items"]]
    assert parts == ["turns", "failures", "latency", "tokens", "sessions", "cost"]


def test_the_workbook_takes_time_apart_as_the_page_does() -> None:
    (shown,) = (item["content"]["query"] for item in WORKBOOK["items"] if item["name"] == "latency")
    assert f"{shown}\n" in QUESTIONS


def test_its_cost_estimate_has_the_list_prices() -> None:
    prices = json.loads((PROJECT / "bench/prices.json").read_text())["model"]
    query = WORKBOOK["items"][-1]["content"]["query"]
    assert f"let input_price = {prices['input_per_million_tokens']};" in query
    assert f"let output_price = {prices['output_per_million_tokens']};" in query


WRONG = {
    "AppDependencies | where Duration > 1": "The name 'Duration'",
    "AppTraces | summarize sum(Message)": "must be summable",
    "AppMetric | count": "The name 'AppMetric'",
    "AppMetrics | extend part = strcut(Name)": "The name 'strcut'",
    "AppMetrics | wher Sum > 1": "Query operator expected",
}


@pytest.fixture(scope="module")
def diagnostics() -> dict[str, list[str]]:
    """What the language service of Kusto, which takes long to start, says of each query."""
    queries = [*QUERIES, *WRONG]
    return dict(zip(queries, kusto.diagnostics(queries), strict=True))


def test_the_language_service_of_kusto_finds_nothing_wrong_with_a_query(
    diagnostics: dict[str, list[str]],
) -> None:
    found = {query: diagnostics[query] for query in QUERIES}
    assert {query: wrong for query, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize(("query", "words"), WRONG.items())
def test_it_finds_what_is_wrong(diagnostics: dict[str, list[str]], query: str, words: str) -> None:
    assert words in diagnostics[query][0]


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
