"""Runs in a session, in the kernel of its code: see survey. It needs Python 3.10 alone."""

import base64
import filecmp
import json
import os
import re
import shutil
import stat
import sys
import time
import types
import zlib
from collections.abc import Callable, Iterator
from typing import Any

ROOT = b"/mnt/data"
MAX_FILES = 1000
MAX_LOOKED_AT = 20_000
MAX_DEPTH = 32
MAX_COPY_BYTES = 64 * 1024 * 1024

# What it must know the next time; a kernel that starts again begins anew.
memory: dict[str, Any] = sys.modules.setdefault(
    "_session_files", types.ModuleType("_session_files")
).__dict__
failed: list[str] = []


def files_below(top: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    """Yield each regular file's path relative to `top`, and what stat says of it."""
    waiting, seen = [(top, b"", 0)], 0
    while waiting:
        folder, prefix, depth = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            seen += 1
            if seen > MAX_LOOKED_AT:
                return
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISDIR(found.st_mode):
                if depth < MAX_DEPTH and entry.name != b"__pycache__":
                    waiting.append((entry.path, prefix + entry.name + b"/", depth + 1))
            elif stat.S_ISREG(found.st_mode):
                yield prefix + entry.name, found


def inside(path: str) -> bytes:
    """The path of a file, given in hexadecimal digits."""
    return os.path.join(ROOT, bytes.fromhex(path))


def attempt(name: str, action: Callable[..., object], *paths: bytes) -> None:
    """Do it, or remember that it failed."""
    try:
        os.makedirs(os.path.dirname(paths[-1]), exist_ok=True)
        action(*paths)
    except OSError:
        failed.append(name)


def link(source: bytes, target: bytes) -> None:
    """Give a file a second name."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def working_folders() -> list[bytes]:
    """Where code writes if it names no folder: where it is now, and where it began."""
    found: list[bytes] = memory.setdefault("folders", [])
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    for folder in (getattr(shell, "starting_dir", None), os.path.expanduser("~"), here()):
        path = os.path.realpath(os.fsencode(folder)) if folder else b"/"
        above, below = is_in(ROOT, path), is_in(path, ROOT)
        if path != b"/" and not above and not below and path not in found:
            found.append(path)
    return found


def is_in(path: bytes, folder: bytes) -> bool:
    """Whether it is that folder, or below it."""
    return (path + b"/").startswith(folder + b"/")


def here() -> str | None:
    """The working directory; None if it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return None


def bring(since: float) -> None:
    """Copy what is new in working directories to /mnt/data, under the same relative path."""
    known, ours = memory.setdefault("known", {}), memory.setdefault("ours", set())
    room = MAX_COPY_BYTES
    for folder in working_folders():
        for path, found in files_below(folder):
            source = os.path.join(folder, path)
            if found.st_ctime < since or known.get(source) == found.st_ctime_ns:
                continue
            # Hidden ones are of libraries: caches and settings.
            if path.startswith(b".") or b"/." in path:
                continue
            known[source] = found.st_ctime_ns
            target = os.path.join(ROOT, path)
            try:
                if os.path.lexists(target) and target not in ours:
                    if filecmp.cmp(source, target, shallow=False):
                        continue
                    head, tail = os.path.split(target)
                    target = os.path.join(head, b"working-directory-" + tail)
                room -= found.st_size
                if room < 0:
                    raise OSError("no room")
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copy2(source, target)
                ours.add(target)
            except OSError:
                failed.append(path.hex())


def answer(max_chars: int, transfer: str) -> str:
    """What is there, packed; the newest files alone if it would be too long."""
    found = [each for each in files_below(ROOT) if not re.fullmatch(transfer.encode(), each[0])]
    found.sort(key=lambda each: each[1].st_ctime_ns, reverse=True)
    listed = found[:MAX_FILES]
    while True:
        files = [
            (path.hex(), s.st_size, max(s.st_mtime, 0), f"{s.st_ino:x}.{s.st_ctime_ns:x}")
            for path, s in listed
        ]
        text = json.dumps({"files": files, "count": len(found), "failed": failed})
        packed = base64.b64encode(zlib.compress(text.encode())).decode()
        if len(packed) <= max_chars or not listed:
            return packed
        listed = listed[: len(listed) // 2]


def main(arguments: dict[str, Any]) -> None:
    """Do the errand, look, and print what is there between two marks."""
    for source, target in arguments["moves"]:
        attempt(target, os.replace, inside(source), inside(target))
    for source, target in arguments["links"]:
        attempt(source, link, inside(source), inside(target))
    for name in arguments["removes"]:
        attempt(name, os.unlink, inside(name))
    is_new = "began" not in memory
    if arguments["works_in_data"] and is_new and not is_in(os.fsencode(here() or "/"), ROOT):
        os.chdir(ROOT)
    memory["began"] = True
    if arguments["working_s"] is not None:
        # Beside the file system's clock.
        bring(time.time() - arguments["working_s"])  # noqa: TID251 - compared with mtimes, which are of this clock
    mark = arguments["mark"]
    print(mark + answer(arguments["max_chars"], arguments["transfer"]) + mark, flush=True)
