"""Which files are sent to Azure: .funcignore, as each of its two readers understands it."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Self

from pathspec import GitIgnoreSpec

type Reader = Callable[[PurePosixPath], bool]


@dataclass(frozen=True)
class FuncIgnore:
    """The lines of a .funcignore."""

    lines: tuple[str, ...]

    @classmethod
    def read(cls, project: Path) -> Self:
        """Read the file of a project."""
        lines = (project / ".funcignore").read_text().splitlines()
        return cls(tuple(line for line in lines if line and not line.startswith("#")))

    def as_gitignore(self, path: PurePosixPath) -> bool:
        """How azd reads it: the path itself, or what lies below it."""
        return self._git.match_file(path) or self._git.match_file(f"{path}/")

    def as_core_tools(self, path: PurePosixPath) -> bool:
        """How Core Tools read it: the path begins so, and a word ends there.

        https://github.com/Azure/azure-functions-core-tools/blob/main/src/Cli/func/Common/GitIgnoreParser.cs
        """
        return bool(self._core_tools.match(str(path)))

    @cached_property
    def _git(self) -> GitIgnoreSpec:
        return GitIgnoreSpec.from_lines(self.lines)

    @cached_property
    def _core_tools(self) -> re.Pattern[str]:
        patterns = (
            re.sub(r"[-\[\]/{}()+?.\\^$|]", r"\\\g<0>", line.removeprefix("/"))
            .replace("**", "(.+)")
            .replace("*", r"([^\/]+)")
            for line in self.lines
        )
        return re.compile(rf"(?:{'|'.join(patterns)})\b", re.ASCII)


def files_sent(project: Path, ignored: Reader) -> set[PurePosixPath]:
    """The files of a project that are not ignored, relative to it."""
    found = set()
    for folder, folders, files in os.walk(project):
        here = PurePosixPath(Path(folder).relative_to(project).as_posix())
        folders[:] = [name for name in folders if not ignored(here / name)]
        found |= {here / name for name in files if not ignored(here / name)}
    return found
