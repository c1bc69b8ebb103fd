"""The boundary: bubblewrap's arguments.

https://github.com/containers/bubblewrap
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from local.session_pool.sandbox.limits import MASKED, SessionLimits
from local.session_pool.sandbox.runtime import GuestRuntime

ETC = Path(__file__).with_name("etc")
# A folder inside, to cover others with.
EMPTY = "/opt/empty"
# Files of the host's /etc that say nothing about the host but how programs run on it.
_SHOWN_OF_ETC = ("ld.so.cache", "fonts", "localtime", "alternatives")
# Debian keeps the database of the dynamic linker and of fonts there.
_SHOWN_OF_USR = ("bin", "lib", "lib64", "share", "local/lib")


class BubblewrapMissingError(Exception):
    """There is no bwrap on PATH."""

    def __init__(self) -> None:
        super().__init__(
            "sessions run in bubblewrap, which is not installed: type"
            " `sudo apt-get install bubblewrap` (Fedora: `sudo dnf install bubblewrap`)"
        )


def find_bubblewrap() -> str:
    """Return the path of bwrap.

    Raises:
        BubblewrapMissingError: see there.
    """
    path = shutil.which("bwrap")
    if path is None:
        raise BubblewrapMissingError
    return path


def arguments(
    runtime: GuestRuntime,
    limits: SessionLimits,
    *,
    relocated: Mapping[Path, Path],
    nested: bool,
    seccomp_descriptor: int | None,
) -> list[str]:
    """Return the options; they go to `--args`, so that host paths stay out of /proc/1/cmdline.

    Args:
        runtime: what to show inside.
        limits: sizes of the writable folders.
        relocated: where a path of the host is found by the user who runs bwrap, if elsewhere.
        nested: the process makes further namespaces inside and drops privileges itself, as the fork
            server does. Otherwise bubblewrap drops everything here, and the process is pid 1:
            bubblewrap's own has no filter.
        seccomp_descriptor: an open file with the filter, read by bubblewrap.
    """
    options = ["--unshare-all", "--unshare-user", "--uid", "1000", "--gid", "1000"]
    options += ["--hostname", "sandbox", "--die-with-parent", "--new-session", "--clearenv"]
    if not nested:
        options += ["--disable-userns", "--cap-drop", "ALL", "--as-pid-1"]
    for name, value in runtime.environment().items():
        options += ["--setenv", name, value]
    shown = [f"/usr/{folder}" for folder in _SHOWN_OF_USR]
    for folder in _above(*shown, *(target for _, target in runtime.binds), *limits.tmpfs()):
        # bubblewrap would close them to all but its own user.
        options += ["--dir", folder]
    if nested:
        options += ["--dir", EMPTY]
    for folder in shown:
        options += ["--ro-bind-try", folder, folder]
    for folder in ("bin", "lib", "lib64"):
        options += ["--symlink", f"usr/{folder}", f"/{folder}"]
    options += ["--ro-bind", str(relocated.get(ETC, ETC)), "/etc"]
    for name in _SHOWN_OF_ETC:
        options += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for source, target in runtime.binds:
        options += ["--ro-bind", str(relocated.get(source, source)), target]
    for folder in runtime.hidden:
        options += ["--tmpfs", folder, "--remount-ro", folder]
    options += ["--proc", "/proc", "--dev", "/dev"]
    # Zeros are read from it just so; but shared memory out of /dev/zero is seen by no limit.
    options += ["--dev-bind", "/dev/full", "/dev/zero"]
    for path in MASKED:
        if not nested and Path(path).is_dir():
            options += ["--tmpfs", path, "--remount-ro", path]
        elif not nested and Path(path).exists():
            options += ["--ro-bind", "/dev/null", path]
    for folder, size in limits.tmpfs().items():
        options += ["--size", str(size["bytes"]), "--perms", size["mode"], "--tmpfs", folder]
    # bubblewrap's own tmpfs in / and /dev have no size.
    options += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]
    if seccomp_descriptor is not None:
        options += ["--seccomp", str(seccomp_descriptor)]
    return options


def _above(*paths: str) -> list[str]:
    """Return the folders that the paths are in, the outermost first; not the root."""
    return sorted({str(folder) for path in paths for folder in Path(path).parents} - {"/"})
