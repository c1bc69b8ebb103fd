"""`python -m tests.outdated`: what the registry has that the pins do not, and why it is held back.

Reads the lists of pyproject.toml, asks pip for the newest version of each package, and fails if a
newer one is stopped by a bound that gives no reason.
"""

import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Pin:
    """A package that pyproject.toml names."""

    requirement: Requirement
    reason: str

    @property
    def name(self) -> str:
        """Name in the registry."""
        return self.requirement.name

    def holds_back(self, newest: Version) -> bool:
        """Whether the list, and not only the lock file, stops this version."""
        return newest not in self.requirement.specifier


@dataclass(frozen=True)
class Finding:
    """A package whose newest version is not the locked one."""

    pin: Pin
    locked: Version
    newest: Version

    @property
    def unexplained(self) -> bool:
        """Whether the list stops it and does not say why."""
        return self.pin.holds_back(self.newest) and not self.pin.reason

    def __str__(self) -> str:
        """One line of the report."""
        if not self.pin.holds_back(self.newest):
            why = "`make lock` takes it"
        else:
            why = self.pin.reason or "held back without a reason: write one beside it"
        return f"{self.pin.name} {self.locked} → {self.newest}: {why}"


def pins(pyproject: str) -> list[Pin]:
    """The packages of every list, with the comment beside each."""
    lists = tomllib.loads(pyproject)
    named = [*lists["project"]["dependencies"]]
    for group in lists["dependency-groups"].values():
        named += [entry for entry in group if isinstance(entry, str)]
    found = []
    for text in named:
        line = re.search(rf'^ *"{re.escape(text)}",?(?: *# *(.+))?$', pyproject, re.MULTILINE)
        found.append(Pin(Requirement(text), (line[1] or "") if line else ""))
    return found


def locked_versions(requirements: str) -> dict[str, Version]:
    """What a lock file pins, by name."""
    lines = re.findall(r"^([\w.-]+)==(\S+)$", requirements, re.MULTILINE)
    return {name.lower(): Version(version) for name, version in lines}


def compare(
    found: list[Pin], locked: dict[str, Version], newest: dict[str, Version]
) -> list[Finding]:
    """What is newer in the registry than here."""
    return [
        Finding(pin, locked[pin.name.lower()], newest[pin.name])
        for pin in found
        if pin.name in newest and locked[pin.name.lower()] < newest[pin.name]
    ]


def ask_registry(name: str, *, previews: bool) -> Version | None:
    """The newest release that this Python could install; None where the registry does not tell."""
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "index", "versions", name, *(["--pre"] if previews else [])],
        capture_output=True,
        text=True,
        check=False,
    )
    answer = re.match(rf"{re.escape(name)} \((\S+)\)", asked.stdout)
    return Version(answer[1]) if answer else None


def main() -> int:
    """Print what is outdated; 1 if something is held back without a reason."""
    found = pins((PROJECT / "pyproject.toml").read_text())
    locked = locked_versions((PROJECT / "requirements-dev.txt").read_text())
    newest = {
        pin.name: version
        for pin in found
        # What has no release yet is locked as a preview.
        if (version := ask_registry(pin.name, previews=locked[pin.name.lower()].is_prerelease))
    }
    unknown = [pin.name for pin in found if pin.name not in newest]
    if unknown:
        sys.stderr.write(f"The registry told nothing of {', '.join(unknown)}.\n")
    findings = compare(found, locked, newest)
    for finding in findings:
        sys.stdout.write(f"{finding}\n")
    if not findings:
        sys.stdout.write("Nothing is outdated.\n")
    return int(bool(unknown) or any(finding.unexplained for finding in findings))


if __name__ == "__main__":
    raise SystemExit(main())
