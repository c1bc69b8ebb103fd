"""Whether a benchmark's targets hold, on a machine that was quiet enough to tell."""

import os
import resource
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# More than a quarter of a core of other work, and figures tell of that work.
OTHER_CORES_MAX: Final = 0.25
MET, MISSED, NOT_JUDGED = 0, 1, 3


@dataclass(frozen=True, slots=True)
class Target:
    """A figure and its bound.

    Attributes:
        text: what is measured, with its unit.
        value: as measured.
        at_most: the bound.
    """

    text: str
    value: float
    at_most: float

    @property
    def holds(self) -> bool:
        """Whether the figure is within its bound."""
        return self.value <= self.at_most


def busy_s() -> float:
    """Seconds of all processors that were not idle since the machine started; Linux."""
    words = Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
    user, nice, system, _idle, _waiting, interrupt, soft, stolen, *_ = map(int, words)
    ticks = user + nice + system + interrupt + soft + stolen
    return ticks / os.sysconf("SC_CLK_TCK")


def own_s() -> float:
    """CPU seconds of this process and of all that it started and that has ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


class OtherWork:
    """What else the machine does, from when this is made.

    Args:
        clock: seconds that pass.
        busy: see `busy_s`.
        own: see `own_s`.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        busy: Callable[[], float] = busy_s,
        own: Callable[[], float] = own_s,
    ) -> None:
        self._clock, self._busy, self._own = clock, busy, own
        self._began = (clock(), busy(), own())

    def cores(self) -> float:
        """The cores that it took until now, on average; all that was started must have ended."""
        clock, busy, own = self._began
        others_s = (self._busy() - busy) - (self._own() - own)
        return max(0.0, others_s) / (self._clock() - clock)


def judge(targets: Iterable[Target], other_cores: float) -> int:
    """Print how each target does, and give the `verdict`."""
    met = True
    for target in targets:
        met = met and target.holds
        word = _word(target, other_cores)
        print(f"{word} {target.text}: {target.value:.4g}, at most {target.at_most:.4g}")
    return verdict(met=met, other_cores=other_cores)


def verdict(*, met: bool, other_cores: float) -> int:
    """Print what else the machine did.

    Returns:
        The exit code: MET; MISSED, if a target is; NOT_JUDGED, if the machine had other work.
    """
    load = ", ".join(f"{load:.2f}" for load in os.getloadavg())
    print(
        f"\nother work on this machine: {other_cores:.2f} of {os.cpu_count()} cores; "
        f"load over 1, 5 and 15 minutes: {load}",
        flush=True,
    )
    if other_cores > OTHER_CORES_MAX:
        print(f"NOT JUDGED: more than {OTHER_CORES_MAX} cores of other work", file=sys.stderr)
        return NOT_JUDGED
    return MET if met else MISSED


def _word(target: Target, other_cores: float) -> str:
    if other_cores > OTHER_CORES_MAX:
        return "unsure"
    return "met   " if target.holds else "MISSED"
