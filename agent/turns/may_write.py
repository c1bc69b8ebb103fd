"""Whether code may write files, or use some: in doubt it may.

A session in which no code could write any has none but those that it was given. So nobody looks for
some after code that evidently writes none, and code that evidently uses none need not wait until
the session has those of its conversation. What such code imports is known to read and write files
through functions of such names alone.
"""

import re
from typing import Final

_HARMLESS: Final = frozenset(
    {
        *("IPython", "bisect", "calendar", "cmath", "collections", "dataclasses", "datetime"),
        *("decimal", "enum", "fractions", "functools", "heapq", "itertools", "json", "math"),
        *("matplotlib", "numpy", "operator", "pandas", "random", "re", "scipy", "seaborn"),
        *("sklearn", "statistics", "statsmodels", "string", "sympy", "textwrap", "time"),
        *("typing", "warnings", "zoneinfo"),
    }
)
_IMPORTS: Final = re.compile(r"(?:^|[;:])[ \t]*(?:from[ \t]+([\w.]+)|import[ \t]+([^;\n]+))", re.M)
_WRITES: Final = re.compile(
    r"""
    ^[ \t]*[%!?]                                  # magics and commands
    | /mnt | __ | ['"][^'"\n]*\.[A-Za-z]\w{0,7}['"]   # a path, or the name of a file
    | \b(?:open|exec|eval|compile|getattr|globals|vars|locals|builtins|get_ipython|dump|dump_\w+)\b
    | \bto_(?!numpy|dict|list|datetime|numeric|frame|timedelta|series|period|latex\b)\w+
    | save | writ | file | path | memmap | HDFStore | \bfetch_ | \bpreview\b | \bio\b
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_READS: Final = re.compile(
    r"\bread_ | imread | load | genfromtxt | fromregex | DataSource | style | font | \bIPython\b",
    re.IGNORECASE | re.VERBOSE,
)


def may_write(code: str) -> bool:
    """Whether the code of a cell may write a file.

    What it calls of cells before it is not looked at: after one that may write, all may.
    """
    if _WRITES.search(code):
        return True
    for module, modules in _IMPORTS.findall(code):
        names = [module] if module else modules.split(",")
        if any(
            name.split()[0].partition(".")[0] not in _HARMLESS for name in names if name.strip()
        ):
            return True
    return False


def may_use_files(code: str) -> bool:
    """Whether the code of a cell may read or write a file; what it calls likewise."""
    return may_write(code) or _READS.search(code) is not None
