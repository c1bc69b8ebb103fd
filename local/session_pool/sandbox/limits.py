"""The limits of one session."""

from dataclasses import dataclass
from typing import Any

MIB = 1 << 20
# Files and folders of /proc that tell about the machine and not about the session.
MASKED = tuple(
    f"/proc/{name}"
    for name in (
        *("kcore", "keys", "key-users", "kallsyms", "sched_debug", "timer_list", "modules"),
        *("cmdline", "diskstats", "locks", "partitions", "swaps", "sys/kernel/random/boot_id"),
        # Which devices there are; and when somebody types, or a disk is written.
        *("interrupts", "softirqs", "iomem", "ioports", "mdstat", "dma", "devices", "misc"),
        # The names of disks, and of what is on the buses and plugged in.
        *("consoles", "acpi", "asound", "bus", "driver", "fs", "irq", "scsi"),
    )
)


@dataclass(frozen=True)
class SessionLimits:
    """Bounds of one session.

    Attributes:
        memory_bytes: of all its processes and its files together.
        processes: processes and threads. Ending as many takes about a millisecond each.
        data_bytes: files in /mnt/data.
        scratch_bytes: files in /tmp.
        inodes: files and folders, for each writable folder.
        open_files: descriptors of one process. A user can have this many and 253 under way in
            sockets (`unix(7)`, ETOOMANYREFS): where all sessions are one, that leaves the usual
            1024 to its other programs.
        under_way: descriptors that wait in sockets, where all sessions are one user.
        pipes: pipes, likewise; a user has 64 MiB for all, and each takes 64 KiB.
        queued_signals: signals that wait, and timers.
        locks: on ranges of files.
        terminals: pseudo terminals; all sandboxes of the machine have 3072.
    """

    memory_bytes: int = 1024 * MIB
    processes: int = 48
    data_bytes: int = 256 * MIB
    scratch_bytes: int = 256 * MIB
    inodes: int = 65536
    open_files: int = 512
    under_way: int = 256
    pipes: int = 512
    queued_signals: int = 128
    locks: int = 1024
    terminals: int = 64

    def rlimits(self) -> dict[str, int]:
        """Resource limits of each process, for `guest.kernel.apply_limits`.

        DATA, not AS, bounds memory: numpy's and the C library's arenas reserve far more addresses
        than they use.
        """
        return {
            "DATA": 2 * self.memory_bytes,
            "AS": 16 << 30,
            "NPROC": self.processes,
            "FSIZE": max(self.data_bytes, self.scratch_bytes),
            "NOFILE": self.open_files,
            # The kernel starts a program of the host for a core whatever the limit, but not at 1.
            "CORE": 1,
            "SIGPENDING": self.queued_signals,
            "MEMLOCK": 64 << 10,
            "MSGQUEUE": 0,
        }

    def tmpfs(self) -> dict[str, dict[str, Any]]:
        """The writable folders: how large, how many files, which mode."""
        return {
            "/tmp": {"bytes": self.scratch_bytes, "inodes": self.inodes, "mode": "1777"},  # noqa: S108 - where in the sandbox a new, empty file system is mounted
            "/dev/shm": {"bytes": 64 * MIB, "inodes": 4096, "mode": "1777"},  # noqa: S108 - likewise; multiprocessing's semaphores look for it by this name
            "/home/sandbox": {"bytes": 64 * MIB, "inodes": 16384, "mode": "0755"},
            "/mnt/data": {"bytes": self.data_bytes, "inodes": self.inodes, "mode": "0755"},
        }
