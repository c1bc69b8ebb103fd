"""The text of an error: no frames of the sandbox, and no more than an answer can hold."""

import inspect
import os
from dataclasses import dataclass
from pathlib import Path

from .frames import MAX_TRACEBACK_CHARS, printable

_GUEST = str(Path(__file__).parent)


@dataclass(frozen=True)
class ShownError:
    """An error that IPython has shown.

    Attributes:
        raised: the exception itself.
        name: of its class.
        message: its text.
        text: its traceback.
    """

    raised: BaseException | None
    name: str
    message: str
    text: str

    @classmethod
    def of(cls, kind: type, raised: BaseException | None, lines: list[str]) -> "ShownError":
        """Return what `InteractiveShell._showtraceback` is given."""
        try:
            message = str(raised)
        except Exception:
            message = ""
        return cls(
            raised,
            shortened(printable(kind.__name__), 200),
            shortened(printable(message), 2000),
            shortened(printable("\n".join(lines))),
        )


def shortened(text: str, max_chars: int = MAX_TRACEBACK_CHARS) -> str:
    """Return `text`, without its middle if it is too long: the reason is at its end."""
    if len(text) <= max_chars:
        return text
    note = f"\n[... {len(text) - max_chars:,} characters left out ...]\n"
    head = (max_chars - len(note)) // 2
    return text[:head] + note + text[len(text) - (max_chars - len(note) - head) :]


def prepare(raised: BaseException | None) -> None:
    """Let tracebacks end where code of the sandbox was called, also those of the causes.

    Also say that cells belong to `__main__`: for each frame of a recursion `inspect` would look
    through all modules, which takes seconds.
    """
    seen: set[int] = set()
    waiting = [raised]
    while waiting:
        error = waiting.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        waiting += [error.__cause__, error.__context__]
        frame = error.__traceback__
        while frame is not None:
            _know_module(frame.tb_frame.f_code.co_filename)
            inner = frame.tb_next
            if inner is not None and inner.tb_frame.f_code.co_filename.startswith(_GUEST):
                frame.tb_next = None
            frame = frame.tb_next


def _know_module(file: str) -> None:
    if file.startswith("<") and file not in inspect.modulesbyfile:
        inspect.modulesbyfile[file] = "__main__"
        inspect.modulesbyfile[os.path.abspath(file)] = "__main__"
