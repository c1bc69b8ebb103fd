"""Uploaded CSV files: their size, first rows and statistics."""

import re
from typing import Final

from local.azure_openai.stand_in.plans import Plan, Question

_QUOTED: Final = re.compile(r"[\"'`]([^\"'`\n/\\]{1,200}\.csv)[\"'`]", re.IGNORECASE)
_BARE: Final = re.compile(r"[\w.-]{1,200}\.csv\b", re.IGNORECASE)
_ABOUT_A_FILE: Final = re.compile(
    r"\b(csv|file|data|dataset|table|upload\w*|rows?|columns?|summar\w+|describe)\b", re.IGNORECASE
)
_CODE: Final = """\
import pandas as pd

table = pd.read_csv("/mnt/data/" + {name!r})
print(f"{{len(table):,}} rows, {{len(table.columns)}} columns")
print(table.head().to_string())
print()
print(table.describe(include="all").to_string())
"""


def plan(question: Question) -> Plan | None:
    """Looks into the file that the question names, or the last one named before it."""
    name = _last_name(question.text)
    if name is None and _ABOUT_A_FILE.search(question.text):
        name = _last_name(question.context)
    if name is None:
        return None
    return Plan(_CODE.format(name=name), f"This is what {name} holds:")


def _last_name(text: str) -> str | None:
    names = _QUOTED.findall(text) or _BARE.findall(text)
    return names[-1] if names else None
