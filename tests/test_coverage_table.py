"""The table of CI: rooms with the share of their lines that tests ran."""

from tests.coverage_table import table


def test_lines_add_up_by_room_and_in_total() -> None:
    statements = {"agent/http/chat.py": 10, "agent/http/openai/routes.py": 30, "agent/text.py": 40}
    covered = {"agent/http/chat.py": 10, "agent/http/openai/routes.py": 20, "agent/text.py": 40}

    assert [line.split() for line in table(covered, statements).splitlines()] == [
        ["agent/http", "75.0%", "40", "lines"],
        ["agent/text", "100.0%", "40", "lines"],
        ["total", "87.5%", "80", "lines"],
    ]


def test_a_room_without_statements_has_no_line() -> None:
    assert "agent/__init__" not in table({"agent/__init__.py": 0}, {"agent/__init__.py": 0})
