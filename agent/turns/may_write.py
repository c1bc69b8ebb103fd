"""Whether code may write files, or use some: in doubt it may.

A session in which no code could write any has none but those that it was given. So nobody looks for
some after code that evidently writes none, and code that evidently uses none need not wait until
the session has those of its conversation. What such code imports is known to read and write files
through functions of such names alone.

One expression for all of it took a millisecond for each thousand characters.
"""

import re
import unicodedata
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
_WORD: Final = re.compile(r"\w+")
# IPython's own, also where its output gets a name: `names = !ls`.
_COMMAND: Final = re.compile(r"^(?:[^\n()=]*=)?[ \t]*[%!?]", re.M)
_FILE_NAME: Final = re.compile(r"""['"][^'"\n]*\.[a-z]\w{0,7}['"]""")
# In lower case, as all that follows. The backslash at a line's end may be inside of an import.
_WRITING_PARTS: Final = (
    *("/mnt", "__", "\\\n", "save", "writ", "file", "path", "memmap", "hdfstore", "pdfpages"),
)
_WRITING_WORDS: Final = frozenset(
    {
        *("builtins", "compile", "dump", "eval", "exec", "get_ipython", "getattr", "globals"),
        *("io", "locals", "memory", "open", "os", "preview", "vars"),
    }
)
_WRITING_BEGINNINGS: Final = ("dump_", "fetch_", "to_")
_HARMLESS_WORDS: Final = frozenset(
    {
        *("to_datetime", "to_dict", "to_frame", "to_latex", "to_list", "to_numeric", "to_numpy"),
        *("to_period", "to_series", "to_timedelta"),
    }
)
_READING_PARTS: Final = (
    *("datasource", "font", "fromregex", "genfromtxt", "imread", "load", "style"),
)
_READING_BEGINNING: Final = "read_"
_READING_WORD: Final = "ipython"


def may_write(code: str) -> bool:
    """Whether the code of a cell may write a file.

    What it calls of cells before it is not looked at: after one that may write, all may.
    """
    code = _as_python_reads_it(code)
    low = code.lower()
    words = _WORD.findall(low)
    return (
        any(part in low for part in _WRITING_PARTS)
        or not _WRITING_WORDS.isdisjoint(words)
        or any(
            word.startswith(_WRITING_BEGINNINGS) and word not in _HARMLESS_WORDS
            for word in set(words)
        )
        or _COMMAND.search(low) is not None
        or _FILE_NAME.search(low) is not None
        or _imports_something_else(code, words.count("import"))
    )


def may_use_files(code: str) -> bool:
    """Whether the code of a cell may read or write a file; what it calls likewise."""
    if may_write(code):
        return True
    low = _as_python_reads_it(code).lower()
    return any(part in low for part in _READING_PARTS) or any(
        word == _READING_WORD or word.startswith(_READING_BEGINNING) for word in _WORD.findall(low)
    )


def _as_python_reads_it(code: str) -> str:
    """Python takes each name in this form: there are 19 ways to write the `o` of `open`."""
    return code if code.isascii() else unicodedata.normalize("NFKC", code)


def _imports_something_else(code: str, imports: int) -> bool:
    """Whether a module is imported that is not known, or in a way that is not understood."""
    found = _IMPORTS.findall(code)
    names = [name for module, more in found for name in ([module] if module else more.split(","))]
    return len(found) < imports or any(
        name.split()[0].partition(".")[0] not in _HARMLESS for name in names if name.strip()
    )
