"""What the author of a tool imports: everything from here, and nothing else of the agent.

A tool is a function or a method with `@kernel_function`, in a module of its own in `agent/tools/`.
Its docstring tells the model when to call it, its annotations what to call it with. What settings
decide of that is the attribute `for_the_model` of the object, a text that follows the docstring.
"""

from collections.abc import Sequence
from typing import Any, Final

from pydantic_settings import BaseSettings, SettingsConfigDict

from agent.frozen import frozen
from agent.model.sdk import kernel_function

__all__ = ["ToolError", "ToolFile", "ToolResult", "ToolSettings", "kernel_function"]

# How long a call may take, where the module has no TIMEOUT_S of its own.
DEFAULT_TIMEOUT_S: Final = 30
# What one result may hold: the worker has it in memory.
FILES_MAX: Final = 16
FILES_MAX_BYTES: Final = 64 * 1024**2


class ToolSettings(BaseSettings):
    """App settings of a tool: subclass it, one field for each, and take it in the constructor.

    A field `open_data_hosts` is the app setting OPEN_DATA_HOSTS; an empty value counts as not set.
    One that is missing or wrong stops the start, and the error names it.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    @property
    def is_on(self) -> bool:
        """Whether the tool is there at all; override it for one that is off until it is set up."""
        return True


class ToolError(Exception):
    """The tool could not do it. The model reads the message, as it is, and may try otherwise.

    Of any other exception it reads the name of the class alone: messages may hold what is private.
    """


@frozen
class ToolFile:
    """A file for the session, where Python finds it in /mnt/data, and for the caller.

    Attributes:
        name: of the file, without a folder; what is no name for a file is made one.
        content: of the file; all files of a result have together up to 64 MB.
    """

    name: str
    content: bytes


@frozen
class ToolResult:
    """What a tool returns that has files.

    Attributes:
        value: what the model reads: a text, or what can be written as JSON.
        files: up to 16.
    """

    value: Any
    files: Sequence[ToolFile] = ()
