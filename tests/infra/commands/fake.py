#!/usr/bin/env python3
"""Stands on PATH for az, azd, func, curl and uv: answers as recorded, refuses unknown flags.

Started under the name it plays. `commands.json` beside it has, by command, the flags that the real
one documents and the answers by `--query`. Each call is appended to the file that FAKE_CALLS names,
one JSON list a line.
"""

import json
import os
import sys
from pathlib import Path


def main(words: list[str]) -> int:
    """Play one command."""
    with Path(os.environ["FAKE_CALLS"]).open("a") as calls:  # noqa: TID251 - it plays az and others, whose arguments cannot say where to write
        calls.write(json.dumps(words) + "\n")
    commands = json.loads(Path(__file__).resolve().with_name("commands.json").read_text())
    name, arguments = _longest(commands, words)
    if name is None:
        return _refuse(f"unknown command: {' '.join(words)}")
    known = commands[name]
    given: dict[str, str] = {}
    positional: list[str] = []
    flag = ""
    for argument in arguments:
        if argument.startswith("--") or (argument.startswith("-") and len(argument) == 2):
            flag = argument
            if flag not in known["flags"]:
                return _refuse(f"{name}: unrecognized argument {flag}")
            given[flag] = ""
            if flag in known.get("switches", []):
                flag = ""
        elif flag and (not given[flag] or flag in known.get("lists", [])):
            given[flag] = f"{given[flag]} {argument}".strip()
        else:
            positional.append(argument)
    missing = [flag for flag in known.get("required", []) if not given.get(flag)]
    empty = [f for f, value in given.items() if not value and f not in known.get("switches", [])]
    if missing or empty:
        return _refuse(f"{name}: no value for {', '.join(missing + empty)}")
    if len(positional) not in known.get("positional", [0]):
        return _refuse(f"{name}: unexpected arguments {positional}")
    answer = known.get("answers", {"": ""}).get(given.get("--query", "".join(positional[:1])))
    if answer is None:
        answer = known["answers"].get("*")
    if answer is None:
        return _refuse(f"{name}: nothing recorded for {given} {positional}")
    for flag in known.get("makes", []):
        Path(given[flag]).mkdir(parents=True, exist_ok=True)
    recorded = Path(__file__).resolve().with_name(answer) if answer.endswith(".json") else None
    sys.stdout.write(recorded.read_text() if recorded else f"{answer}\n" if answer else "")
    return 0


def _longest(commands: dict[str, object], words: list[str]) -> tuple[str | None, list[str]]:
    for count in range(len(words), 0, -1):
        name = " ".join(words[:count])
        if name in commands:
            return name, words[count:]
    return None, []


def _refuse(why: str) -> int:
    sys.stderr.write(f"{why}\n")
    return 2


if __name__ == "__main__":
    raise SystemExit(main([Path(sys.argv[0]).name, *sys.argv[1:]]))
