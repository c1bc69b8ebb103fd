"""Puts a formula from a question into code: as a string literal that SymPy reads.

The text of a question is never a piece of the program. What passes `formula` is quoted with repr,
and read by SymPy's parser inside the sandbox.
"""

import re
from typing import Final

# Letters, digits and the signs of arithmetic; no underscore, quote, bracket or attribute dot.
_FORMULA: Final = re.compile(r"(?:[A-Za-z0-9+\-*/^%(),!=\s]|\.(?=\d))+")
_MAX_CHARS: Final = 500
# Longer questions hold no formula; searching them for one would only cost time.
MAX_QUESTION_CHARS: Final = 1_000
# Words in a formula are functions and constants of SymPy; other words make it prose.
_WORDS: Final = frozenset(
    (
        *("sqrt", "cbrt", "root", "exp", "log", "ln", "abs", "floor", "ceiling", "pi", "oo"),
        *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh"),
        *("factorial", "binomial", "gcd", "lcm", "max", "min"),
    )
)
_WORDS_TO_SYMBOLS: Final = (
    (re.compile(r"(\d+(?:\.\d+)?)\s*(?:%|percent)\s+of\s+", re.I), r"\1/100*"),
    (re.compile(r"(?:the\s+)?square root of\s+([\w.]+)", re.I), r"sqrt(\1)"),
    (re.compile(r"\s+(?:times|multiplied by)\s+|\N{MULTIPLICATION SIGN}", re.I), "*"),
    (re.compile(r"\s+divided by\s+|\N{DIVISION SIGN}", re.I), "/"),
    (re.compile(r"\s+plus\s+", re.I), "+"),
    (re.compile(r"\s+minus\s+|\N{MINUS SIGN}", re.I), "-"),
    (re.compile(r"\binfinity\b", re.I), "oo"),
    (re.compile(r"\s+to the power of\s+", re.I), "**"),
)

READER: Final = """\
from sympy import *
from sympy.parsing.sympy_parser import (
    convert_xor,
    implicit_multiplication,
    parse_expr,
    rationalize,
    standard_transformations,
)

RULES = (*standard_transformations, convert_xor, implicit_multiplication, rationalize)


def read(text):
    return parse_expr(text, transformations=RULES, local_dict={"e": E})


"""


def formula(text: str) -> str | None:
    """The text if it may be read as a formula, tidied; None if not."""
    tidy = text[: _MAX_CHARS + 1].strip().rstrip("?.,;: ")
    for phrase, symbols in _WORDS_TO_SYMBOLS:
        tidy = phrase.sub(symbols, tidy)
    if not tidy or len(tidy) > _MAX_CHARS or not _FORMULA.fullmatch(tidy):
        return None
    words = {word.lower() for word in re.findall(r"[A-Za-z]{2,}", tidy)}
    return tidy if words <= _WORDS else None


def only_letter(expression: str, default: str = "x") -> str:
    """The variable of a formula: its only single letter that stands alone, or the default."""
    letters = sorted(set(re.findall(r"(?<![A-Za-z])([a-zA-Z])(?![A-Za-z])", expression)) - {"e"})
    return default if default in letters or not letters else letters[0]
