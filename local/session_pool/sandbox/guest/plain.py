"""Entry point of a kernel that has a bubblewrap sandbox of its own."""

import os
import socket
import sys

from . import frames, kernel
from .shell import Shell


def main(channel_descriptor: int) -> None:
    """Configure from the first frame, then serve."""
    channel = socket.socket(fileno=channel_descriptor)
    configuration = frames.receive(channel)
    if configuration is None:
        return
    prepare_streams()
    seed_font_cache()
    kernel.apply_limits(configuration["limits"])
    shell = Shell()
    shell.warm(configuration["preload"])
    kernel.say_hello(channel, os.pidfd_open(1))
    kernel.serve(channel, shell)


def prepare_streams() -> None:
    """Text goes out line by line, and no character can make printing fail."""
    sys.stdout.reconfigure(encoding="UTF-8", line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]  # a real stream here
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a real stream here


def seed_font_cache() -> None:
    """Let matplotlib find the fonts and settings that came with the image, and make no own list."""
    cache, seed = os.path.expanduser("~/.matplotlib"), "/opt/session/matplotlib"
    os.makedirs(cache, exist_ok=True)
    if os.path.isdir(seed):
        for name in os.listdir(seed):
            if not os.path.lexists(f"{cache}/{name}"):
                os.symlink(f"{seed}/{name}", f"{cache}/{name}")
