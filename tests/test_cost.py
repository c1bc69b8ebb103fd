"""`make cost` reckons a month by list prices, and says what it assumes."""

import json
from datetime import date
from typing import Any

import pytest

from bench.cost import PRICES, main, month, report

LIST: dict[str, Any] = json.loads(PRICES.read_text())


def dollars(turns: int, users: int) -> dict[str, float]:
    return {item.name: round(item.dollars, 4) for item in month(turns, users, LIST)}


def test_a_month_is_the_sum_of_what_is_used_at_list_prices() -> None:
    # 80 million tokens read, half of them cached; 6 million written; 50 users with 20 hours each;
    # 240,000 GB-seconds, 100,000 of them free.
    assert dollars(10_000, 50) == {
        "model, input tokens": 33.0,
        "model, output tokens": 27.0,
        "sessions": 30.0,
        "Flex Consumption, compute": 3.64,
        "Flex Consumption, executions": 0,
        "Log Analytics": 0,
    }


def test_free_grants_are_never_below_nothing() -> None:
    assert set(dollars(0, 0).values()) == {0}


def test_a_turn_begins_at_most_one_session_hour() -> None:
    assert dollars(10, 1000)["sessions"] == pytest.approx(10 * 0.03)


def test_more_than_the_free_grants_is_paid() -> None:
    much = dollars(1_000_000, 1000)

    assert much["Flex Consumption, executions"] == pytest.approx(0.75 * 0.40)
    assert much["Log Analytics"] == pytest.approx(15 * 2.30)


def test_report_names_every_assumption_and_the_date_of_the_prices() -> None:
    text = report(10_000, 50, LIST)

    assert LIST["assumptions"]
    assert [n for n in LIST["assumptions"] if n.replace("_", " ") not in text] == []
    assert date.fromisoformat(LIST["read_on"]).isoformat() in text
    assert "93.64" in text


@pytest.mark.parametrize("turns", ["many", "-1"])
def test_a_number_that_is_none_is_refused(turns: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--turns", turns])
    assert "--turns" in capsys.readouterr().err
