"""Entry point of a kernel that has a bubblewrap sandbox of its own."""

import os
import sys

from . import frames, init, kernel


def main(hello_descriptor: int, requests: int, replies: int, program: int | None = None) -> None:
    """Configure from the first frame, then serve; this process itself stays as pid 1.

    Args:
        hello_descriptor: see `kernel.place`, as for the next two.
        requests: an end of a pipe.
        replies: an end of a pipe.
        program: what pid 1 becomes, from `init.make_program`.

    bubblewrap has set the filter before it started this process.
    """
    hello = kernel.place(hello_descriptor, requests, replies)
    configuration = frames.receive(frames.REQUESTS)
    if configuration is None:
        return
    kernel.end_before_others()
    ready, said_ready = os.pipe()
    if os.fork() != 0:
        limits = configuration["limits"]
        init.become(said_ready, lambda: kernel.apply_limits(limits), program)
    os.close(said_ready)
    if program is not None:
        os.close(program)
    os.setsid()
    prepare_streams()
    seed_font_cache()
    kernel.apply_limits(kernel.before_hello(configuration["limits"]))
    from .shell import Shell  # not above: pid 1 has no use for it

    shell = Shell()
    shell.warm(configuration["preload"])
    init.wait_until_ready(ready)
    kernel.say_hello(hello, configuration["limits"])
    kernel.serve(shell)


def prepare_streams() -> None:
    """Text goes out line by line, and no character can make printing fail."""
    sys.stdout.reconfigure(encoding="UTF-8", line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]  # typeshed promises a TextIO: before any code has run it is the TextIOWrapper that Python opened
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # as stdout: nothing can have put another in its place yet


def seed_font_cache() -> None:
    """Let matplotlib find the fonts and settings that came with the image, and make no own list."""
    cache, seed = os.path.expanduser("~/.matplotlib"), "/opt/session/matplotlib"
    os.makedirs(cache, exist_ok=True)
    if os.path.isdir(seed):
        for name in os.listdir(seed):
            if not os.path.lexists(f"{cache}/{name}"):
                os.symlink(f"{seed}/{name}", f"{cache}/{name}")
