"""`make cost TURNS=10000 USERS=50`: a month's cost, from the list prices of bench/prices.json."""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PRICES = Path(__file__).with_name("prices.json")


@dataclass(frozen=True)
class Item:
    """One line of the bill."""

    name: str
    amount: str
    dollars: float


def month(turns: int, users: int, prices: Mapping[str, Any]) -> list[Item]:
    """What is paid for a month of `turns` by `users` people, without what is paid while idle."""
    assumed = prices["assumptions"]
    read = turns * assumed["model_calls_per_turn"] * assumed["input_tokens_per_call"]
    cached = read * assumed["cached_share_of_input"]
    written = turns * assumed["output_tokens_per_turn"]
    # A session is paid by the begun hour; a turn begins at most one.
    session_hours = min(turns, users * assumed["session_hours_per_user"])
    gb_seconds = turns * assumed["seconds_per_turn"] * assumed["instance_gb"]
    gb_of_logs = turns * assumed["log_kb_per_turn"] / 1_000_000
    model, functions, logs = prices["model"], prices["functions"], prices["logs"]
    return [
        Item(
            "model, input tokens",
            f"{read:,.0f}, {cached:,.0f} of them cached",
            (read - cached) / 1e6 * model["input_per_million_tokens"]
            + cached / 1e6 * model["cached_input_per_million_tokens"],
        ),
        Item(
            "model, output tokens",
            f"{written:,.0f}",
            written / 1e6 * model["output_per_million_tokens"],
        ),
        Item(
            "sessions",
            f"{session_hours:,} begun hours",
            session_hours * prices["sessions"]["per_session_hour"],
        ),
        Item(
            "Flex Consumption, compute",
            f"{gb_seconds:,.0f} GB-seconds",
            max(0, gb_seconds - functions["free_gb_seconds"]) * functions["per_gb_second"],
        ),
        Item(
            "Flex Consumption, executions",
            f"{turns:,}",
            max(0, turns - functions["free_executions"])
            / 1e6
            * functions["per_million_executions"],
        ),
        Item(
            "Log Analytics",
            f"{gb_of_logs:,.2f} GB",
            max(0, gb_of_logs - logs["free_gb"]) * logs["per_gb"],
        ),
    ]


def report(turns: int, users: int, prices: Mapping[str, Any]) -> str:
    """The bill, and what it assumes."""
    items = month(turns, users, prices)
    total = sum(item.dollars for item in items)
    rows = [f"{i.name:30}{i.amount:>44}{i.dollars:>12,.2f}" for i in items]
    assumptions = [f"  {n.replace('_', ' ')}: {v:,}" for n, v in prices["assumptions"].items()]
    return "\n".join(
        [
            f"A month with {turns:,} turns by {users:,} users, {prices['currency']}:",
            "",
            *rows,
            f"{'total':30}{f'{total / turns:.4f} a turn' if turns else '':>44}{total:>12,.2f}",
            "",
            f"List prices of {prices['read_on']}, {prices['region']}. Assumed:",
            *assumptions,
            "Not included: storage (cents), always-ready instances, the container host, a network.",
        ]
    )


def main(words: list[str]) -> int:
    """Print the bill."""
    parser = argparse.ArgumentParser(prog="make cost", description=__doc__)
    parser.add_argument("--turns", type=_count, default=10_000, help="in a month")
    parser.add_argument("--users", type=_count, default=50, help="people who ask")
    options = parser.parse_args(words)
    sys.stdout.write(report(options.turns, options.users, json.loads(PRICES.read_text())) + "\n")
    return 0


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return number


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
