"""Plots of a function: "plot sin(x) from 0 to 10"."""

import re
from typing import Final

from local.azure_openai.stand_in.expressions import MAX_QUESTION_CHARS, READER, formula, only_letter
from local.azure_openai.stand_in.plans import Plan, Question

_PLOT_QUESTION: Final = re.compile(
    r"(?:please\s+|can you\s+|could you\s+)*(?:plot|draw|graph|sketch|chart)\s+"
    r"(?:me\s+)?(?:a\s+|the\s+)?(?:graph of\s+|plot of\s+|function\s+|curve of\s+)?"
    r"(?:y\s*=\s*|f\(x\)\s*=\s*)?(?P<formula>.+?)"
    r"(?:\s+(?:from|between)\s+(?P<low>\S+)\s+(?:to|and)\s+(?P<high>\S+?))?"
    r"(?:\s+for\s+[a-z])?[.?!\s]*",
    re.IGNORECASE,
)
_BODY: Final = """\
import matplotlib.pyplot as plt
import numpy as np

text = {expression!r}
unknown = Symbol({variable!r})
low, high = float(read({low!r})), float(read({high!r}))
xs = np.linspace(low, high, 500)
ys = np.broadcast_to(lambdify(unknown, read(text), "numpy")(xs), xs.shape)
plt.figure()
plt.plot(xs, ys)
plt.title(text)
plt.xlabel(str(unknown))
plt.grid(True)
plt.show()
"""


def plan(question: Question) -> Plan | None:
    """Draws 500 points; from -10 to 10 unless the question says otherwise."""
    if len(question.text) > MAX_QUESTION_CHARS:
        return None
    match = _PLOT_QUESTION.fullmatch(" ".join(question.text.split()))
    if match is None:
        return None
    expression = formula(match["formula"])
    low, high = formula(match["low"] or "-10"), formula(match["high"] or "10")
    if expression is None or low is None or high is None or "=" in expression:
        return None
    variable = only_letter(expression)
    body = _BODY.format(expression=expression, variable=variable, low=low, high=high)
    return Plan(READER + body, f"This is {expression} from {low} to {high}.")
