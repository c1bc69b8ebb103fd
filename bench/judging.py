"""Whether a benchmark's targets hold, on a machine that was quiet enough to tell."""

import ctypes
import os
import platform
import resource
import struct
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


def waited_s() -> float:
    """CPU seconds of this process and of all that it started, has ended and was waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


class OwnWork:
    """CPU seconds of this process, and of all that it starts after this is made.

    Nobody waits for the processes of a sandbox, so `waited_s` is without them. Linux counts them
    too, where it lets this user count (`kernel.perf_event_paranoid`).
    """

    def __init__(self) -> None:
        self._began_s = waited_s()
        self._counter = _open_cpu_counter()

    @property
    def counts_all(self) -> bool:
        """Whether it has also what nobody waits for."""
        return self._counter is not None

    def __call__(self) -> float:
        """Return the seconds since this was made."""
        seconds = waited_s() - self._began_s
        if self._counter is not None:
            counted_s = int.from_bytes(os.read(self._counter, 8), sys.byteorder) / 1e9
            # What had been started before is among those that were waited for alone.
            seconds = max(seconds, counted_s)
        return seconds


def _open_cpu_counter() -> int | None:
    """Return a descriptor for as long as this process lives; None where Linux refuses.

    https://man7.org/linux/man-pages/man2/perf_event_open.2.html
    """
    number = {"x86_64": 298, "aarch64": 241}.get(platform.machine())
    if number is None:
        return None
    software, task_clock, inherit, exclude_kernel, close_on_exec = 1, 1, 1 << 1, 1 << 5, 8
    size = 64  # of the first version
    attributes = struct.pack(
        "IIQQQQQIIQ", software, size, task_clock, 0, 0, 0, inherit | exclude_kernel, 0, 0, 0
    )
    libc = ctypes.CDLL(None)
    descriptor = int(libc.syscall(number, attributes, 0, -1, -1, close_on_exec))
    return descriptor if descriptor >= 0 else None


class OtherWork:
    """What else the machine does, from when this is made.

    Args:
        clock: seconds that pass.
        busy: see `busy_s`.
        own: as `OwnWork` counts it.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        busy: Callable[[], float] = busy_s,
        own: Callable[[], float] | None = None,
    ) -> None:
        self._clock, self._busy, self._own = clock, busy, own or OwnWork()
        self._began = (clock(), busy(), self._own())

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
