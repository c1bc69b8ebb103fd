"""Upgrades are watched: what a bound holds back is named with its reason, or fails."""

import re

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.outdated import PROJECT, compare, locked_versions, pins

PYPROJECT = (PROJECT / "pyproject.toml").read_text()
LISTS = """
[project]
dependencies = [
    "held==1.0",  # 2.0 loses the answer's usage
    "stuck<2",
    "free>=1",
]
[dependency-groups]
test = [{ include-group = "x" }, "tool"]
"""


def test_each_list_is_read_with_the_reasons_beside_it() -> None:
    assert [(pin.name, pin.reason) for pin in pins(LISTS)] == [
        ("held", "2.0 loses the answer's usage"),
        ("stuck", ""),
        ("free", ""),
        ("tool", ""),
    ]


def test_only_what_is_newer_is_named_and_only_what_gives_no_reason_fails() -> None:
    locked = locked_versions("held==1.0\nstuck==1.9\nfree==1.0\ntool==3.0\n")
    newest = {"held": "2.0", "stuck": "2.1", "free": "5.0", "tool": "3.0"}

    findings = compare(pins(LISTS), locked, {n: Version(v) for n, v in newest.items()})

    assert [(str(f), f.unexplained) for f in findings] == [
        ("held 1.0 → 2.0: 2.0 loses the answer's usage", False),
        ("stuck 1.9 → 2.1: held back without a reason: write one beside it", True),
        ("free 1.0 → 5.0: `make lock` takes it", False),
    ]


@pytest.mark.parametrize("name", ["ag-ui-protocol", "azure-functions", "openai", "semantic-kernel"])
def test_a_bound_on_what_the_agent_is_built_on_gives_its_reason(name: str) -> None:
    (pin,) = [pin for pin in pins(PYPROJECT) if pin.name == name]

    assert not pin.holds_back(Version("999")) or pin.reason


def test_every_exact_pin_of_the_lists_gives_its_reason() -> None:
    exact = [pin for pin in pins(PYPROJECT) if "==" in str(pin.requirement.specifier)]

    assert exact
    assert [pin.name for pin in exact if not pin.reason] == []


def test_the_page_says_of_every_exact_pin_how_to_try_the_next_version() -> None:
    page = (PROJECT / "docs/upgrade.md").read_text()
    exact = {pin.name for pin in pins(PYPROJECT) if "==" in str(pin.requirement.specifier)}

    assert set(re.findall(r"^\| ([a-z-]+) \|", page, re.MULTILINE)) == exact


def test_whatever_the_lists_name_is_locked() -> None:
    locked = locked_versions((PROJECT / "requirements-dev.txt").read_text())
    named = {pin.name.lower(): Requirement(str(pin.requirement)) for pin in pins(PYPROJECT)}

    assert {"openai", "starlette", "pytest"} <= named.keys(), "one of each list"
    assert named.keys() - locked.keys() == set()
    assert [n for n, required in named.items() if locked[n] not in required.specifier] == []
