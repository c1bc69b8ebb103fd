"""Entry point of a kernel that has a bubblewrap sandbox of its own."""

import importlib
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
    for module in configuration["preload"]:
        importlib.import_module(module)
    shell = Shell()
    shell.warm(figure="matplotlib.pyplot" in sys.modules)
    kernel.say_hello(channel, os.pidfd_open(1))
    kernel.serve(channel, shell)


def prepare_streams() -> None:
    """Text goes out line by line, and no character can make printing fail."""
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]  # a real stream here
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a real stream here


def seed_font_cache() -> None:
    """Let matplotlib find the list of fonts that came with the image instead of making its own."""
    cache, seed = os.path.expanduser("~/.matplotlib"), "/opt/session/matplotlib"
    os.makedirs(cache, exist_ok=True)
    if os.path.isdir(seed):
        for name in os.listdir(seed):
            if name.startswith("fontlist") and not os.path.lexists(f"{cache}/{name}"):
                os.symlink(f"{seed}/{name}", f"{cache}/{name}")
