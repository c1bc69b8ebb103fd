"""Date and time: "What is the current date and time?"."""

import re
from typing import Final

from local.azure_openai.stand_in.plans import Plan, Question

_DATE_QUESTION: Final = re.compile(
    r"\b(?:date and time|time and date|what time is it|what day is (?:it|today))\b"
    r"|\b(?:current|today'?s|present)\s+(?:local\s+|utc\s+)?(?:date|time|day|weekday)\b"
    r"|\bwhat(?:'s| is)\s+(?:the\s+)?(?:date|time|day|weekday)"
    r"(?:\s+(?:today|now|right now|utc|in utc))*\s*[?.!]*\s*$",
    re.IGNORECASE,
)
_CODE: Final = """\
from datetime import datetime, timezone

now = datetime.now(timezone.utc)
print(now.strftime("%A, %d %B %Y, %H:%M:%S UTC"))
"""


def plan(question: Question) -> Plan | None:
    """Asks the session's clock."""
    if not _DATE_QUESTION.search(question.text):
        return None
    return Plan(_CODE, "The current date and time is", is_sentence=True)
