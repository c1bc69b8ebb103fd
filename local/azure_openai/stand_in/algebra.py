"""Arithmetic and algebra: "what is 2**64 / 3", "solve x^2-5x+6=0", "derivative of sin(x)*x"."""

import re
from typing import Final

from local.azure_openai.stand_in.expressions import MAX_QUESTION_CHARS, READER, formula, only_letter
from local.azure_openai.stand_in.plans import Plan, Question

_LEAD_IN: Final = r"(?:please\s+|can you\s+|could you\s+)*"
_VARIABLE: Final = r"(?:\s+(?:with respect to|wrt|for)\s+(?P<variable>[a-zA-Z]))?"
_SOLVE: Final = re.compile(
    rf"{_LEAD_IN}solve\s+(?:the equation\s+)?(?P<formula>.+?){_VARIABLE}[.?!;,\s]*", re.IGNORECASE
)
_DERIVE: Final = re.compile(
    rf"{_LEAD_IN}(?:what(?:'s| is)\s+)?(?:find\s+|calculate\s+|compute\s+)?"
    rf"(?:the\s+)?(?:derivative of|differentiate)\s+(?P<formula>.+?){_VARIABLE}[.?!;,\s]*",
    re.IGNORECASE,
)
_INTEGRATE: Final = re.compile(
    rf"{_LEAD_IN}(?:what(?:'s| is)\s+)?(?:find\s+|calculate\s+|compute\s+)?"
    rf"(?:the\s+)?(?:integral of|integrate)\s+(?P<formula>.+?)(?:\s+d(?P<letter>[a-z]))?{_VARIABLE}"
    r"(?:\s+from\s+(?P<low>\S+)\s+to\s+(?P<high>\S+?))?(?:\s+d[a-z])?[.?!;,\s]*",
    re.IGNORECASE,
)
_REWRITE: Final = re.compile(
    rf"{_LEAD_IN}(?P<verb>factori[sz]e|factor|simplify|expand)\s+(?P<formula>.+)", re.IGNORECASE
)
_COMPUTE: Final = re.compile(
    rf"{_LEAD_IN}(?:what(?:'s| is| are)|how much is|calculate|compute|evaluate|work out)?\s*"
    r"(?P<formula>.+)",
    re.IGNORECASE,
)
# What tells arithmetic from prose: a digit, and a sign or a function.
_ARITHMETIC: Final = re.compile(r"(?=.*\d)(?=.*(?:[-+*/^!%]|[a-z]{2,}\()).*", re.DOTALL)
_VERBS: Final = {"factor": "factor", "factorise": "factor", "factorize": "factor"}


def plan(question: Question) -> Plan | None:
    """Has SymPy work it out, exactly where it can."""
    if len(question.text) > MAX_QUESTION_CHARS:
        return None
    text = " ".join(question.text.split())
    for topic in (_solve, _derive, _integrate, _rewrite, _compute):
        found = topic(text)
        if found is not None:
            return found
    return None


def _solve(text: str) -> Plan | None:
    match = _SOLVE.fullmatch(text)
    expression = formula(match["formula"]) if match else None
    if match is None or expression is None or expression.count("=") > 1:
        return None
    left, _, right = expression.partition("=")
    variable = match["variable"] or only_letter(expression)
    if not left.strip():
        return None
    body = (
        f"unknown = Symbol({variable!r})\n"
        f"equation = Eq(read({left.strip()!r}), read({right.strip() or '0'!r}))\n"
        "solutions = solve(equation, unknown)\n"
        f'print(", ".join(f"{variable} = {{solution}}" for solution in solutions)'
        ' or "no solution")\n'
    )
    return Plan(READER + body, "The solution is", is_sentence=True)


def _derive(text: str) -> Plan | None:
    match = _DERIVE.fullmatch(text)
    expression = formula(match["formula"]) if match else None
    if match is None or expression is None:
        return None
    variable = match["variable"] or only_letter(expression)
    body = f"print(diff(read({expression!r}), Symbol({variable!r})))\n"
    return Plan(READER + body, "The derivative is", is_sentence=True)


def _integrate(text: str) -> Plan | None:
    match = _INTEGRATE.fullmatch(text)
    expression = formula(match["formula"]) if match else None
    if match is None or expression is None:
        return None
    variable = match["variable"] or match["letter"] or only_letter(expression)
    if match["low"] is None:
        body = f"print(integrate(read({expression!r}), Symbol({variable!r})))\n"
        return Plan(READER + body, "Up to a constant, the integral is", is_sentence=True)
    low, high = formula(match["low"]), formula(match["high"])
    if low is None or high is None:
        return None
    limits = f"(Symbol({variable!r}), read({low!r}), read({high!r}))"
    body = f"print(integrate(read({expression!r}), {limits}))\n"
    return Plan(READER + body, "The integral is", is_sentence=True)


def _rewrite(text: str) -> Plan | None:
    match = _REWRITE.fullmatch(text)
    expression = formula(match["formula"]) if match else None
    if match is None or expression is None:
        return None
    verb = _VERBS.get(match["verb"].lower(), match["verb"].lower())
    body = f"print({verb}(read({expression!r})))\n"
    if verb == "factor" and expression.isdigit():
        body = (
            f"primes = factorint({int(expression)})\n"
            'print(" * ".join(f"{prime}**{power}" for prime, power in primes.items()))\n'
        )
    return Plan(READER + body, "The result is", is_sentence=True)


def _compute(text: str) -> Plan | None:
    match = _COMPUTE.fullmatch(text)
    expression = formula(match["formula"]) if match else None
    if expression is None or "=" in expression or not _ARITHMETIC.fullmatch(expression):
        return None
    if set(re.findall(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])", expression)) - {"e"}:
        return None  # letters are for the other topics
    body = (
        f"value = sympify(read({expression!r}))\n"
        "plain = value.is_integer or not value.is_finite\n"
        'print(value if plain else f"{value} = {N(value, 20)} (20 digits)")\n'
    )
    return Plan(READER + body, "The answer is", is_sentence=True)
