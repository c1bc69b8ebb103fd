"""Code in a fence runs as it is: it is the user's own, and the sandbox is there for it."""

import re
from typing import Final

from local.azure_openai.stand_in.plans import Plan, Question

_FENCE: Final = re.compile(r"```(?:python|py)?[ \t]*\r?\n(.*?)```", re.DOTALL | re.IGNORECASE)


def plan(question: Question) -> Plan | None:
    """Runs the first fence."""
    fence = _FENCE.search(question.text)
    if fence is None or not fence[1].strip():
        return None
    return Plan(fence[1], "The code ran and gave:")
