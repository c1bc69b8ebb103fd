"""Options of the local Azure's command lines: how are their values read and refused?"""

import argparse
import re
from pathlib import Path


def port(text: str) -> int:
    """Return a TCP port; 0 stands for any free one."""
    number = whole_number(text)
    if number > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: 1 to 65535, or 0 for a free one")
    return number


def whole_number(text: str) -> int:
    """Return a number, 0 or more; what it counts has its own bounds."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return int(text)


def host_name(text: str) -> str:
    """Return a host name as clients send it: letters, digits and hyphens between dots."""
    name = text.lower()
    label = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
    if not re.fullmatch(rf"({label}\.)*[a-z]([a-z0-9-]{{0,61}}[a-z0-9])?", name) or len(name) > 253:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a host name such as pool.dynamicsessions.io"
        )
    return name


def folder(text: str) -> Path:
    """Return the path of a folder that exists."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a folder")
    return path


def file(text: str) -> Path:
    """Return the path of a file that exists."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not a file")
    return path


class OptionOfCommand(argparse.Action):
    """Refuses an option that stands before the command it belongs to."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """End the program with a sentence that says where the option goes."""
        parser.error(f"{option_string} is an option of a command: write it after the command")


def refuse_options_of_commands(
    parser: argparse.ArgumentParser, commands: dict[str, argparse.ArgumentParser]
) -> None:
    """Have `parser` say where an option of its commands goes that stands before them."""
    own = set(parser._option_string_actions)
    for command in commands.values():
        for name in command._option_string_actions:
            if name not in own:
                own.add(name)
                parser.add_argument(
                    name,
                    nargs="?",
                    action=OptionOfCommand,
                    default=argparse.SUPPRESS,
                    help=argparse.SUPPRESS,
                )
