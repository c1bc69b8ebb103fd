"""The Python that runs inside the sandbox, and its paths there."""

import compileall
import site
import sys
from dataclasses import dataclass
from pathlib import Path

_INSIDE = "/opt/session"
_GUEST = Path(__file__).with_name("guest")


@dataclass(frozen=True)
class GuestRuntime:
    """The interpreter and the folders that a sandbox shows, read-only.

    Attributes:
        python: the interpreter's path inside.
        binds: (path on the host, path inside); none is below /usr, which is always shown.
        hidden: folders inside that are to be empty: packages of this machine's Python, which are
            none of the image's.
        library_path: where its own libpython is, when it has one.
        image: the session image on the host.
    """

    python: str
    binds: tuple[tuple[Path, str], ...]
    hidden: tuple[str, ...]
    library_path: str
    image: Path

    @classmethod
    def of_this_interpreter(cls, image: Path) -> "GuestRuntime":
        """The Python that runs the pool, with the packages of `image`.

        A Python outside /usr (pyenv's, uv's, one built by hand) is shown under /opt/session/python.
        """
        _compile_guest()
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        prefix = Path(sys.base_prefix).resolve()
        binds = [
            (image / "packages", f"{_INSIDE}/packages"),
            (image / "matplotlib", f"{_INSIDE}/matplotlib"),
            (image / "bin", f"{_INSIDE}/bin"),
            (_GUEST, f"{_INSIDE}/guest"),
        ]
        inside = "/usr" if prefix == Path("/usr") else f"{_INSIDE}/python"
        hidden = [
            f"{inside}/{Path(folder).relative_to(prefix)}"
            for folder in site.getsitepackages([str(prefix)])
            if Path(folder).is_dir() and Path(folder).is_relative_to(prefix)
        ]
        if inside == "/usr":
            return cls(f"/usr/bin/{version}", tuple(binds), tuple(hidden), "", image)
        binds.append((prefix, inside))
        libraries = f"{inside}/lib"
        return cls(f"{inside}/bin/{version}", tuple(binds), tuple(hidden), libraries, image)

    def environment(self) -> dict[str, str]:
        """Environment of every process inside; nothing of the host's."""
        path = "/usr/local/bin:/usr/bin:/bin"
        if self.library_path:
            path = f"{Path(self.python).parent}:{path}"
        path = f"{_INSIDE}/bin:{path}"
        environment = {
            "PATH": path,
            "HOME": "/home/sandbox",
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "TMPDIR": "/tmp",  # noqa: S108 - what a session's programs are told: its own mount, see SessionLimits.tmpfs
            "PYTHONPATH": f"{_INSIDE}/packages",
            "PYTHONDONTWRITEBYTECODE": "1",
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "MPLCONFIGDIR": "/home/sandbox/.matplotlib",
            "IPYTHONDIR": "/home/sandbox/.ipython",
            # Debian's own Python tells pip to leave it alone; a session's Python is the guest's.
            "PIP_BREAK_SYSTEM_PACKAGES": "1",
            # There is no network: `pip install` says so at once.
            "PIP_RETRIES": "0",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            # A thread for each core of the host would count against the session's processes.
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        if self.library_path:
            environment["LD_LIBRARY_PATH"] = self.library_path
        return environment

    def command(self, module: str, *descriptors: int) -> list[str]:
        """Command line that runs `main(*descriptors)` of a module of `guest`."""
        program = (
            # `exec` in a session must not find this line as its source.
            "import linecache, sys; linecache.cache.clear(); "
            f"sys.path.append('{_INSIDE}'); from guest.{module} import main; "
            f"sys.path.remove('{_INSIDE}'); main{descriptors}"
        )
        return [self.python, "-c", program]


def _compile_guest() -> None:
    """Compile the guest's modules once: each session would do it anew, with 2 MB of memory.

    Where the project's folder cannot be written to, nothing happens. What is compiled names the
    folder inside, not the one on this machine.
    """
    compileall.compile_dir(
        _GUEST, quiet=2, stripdir=str(_GUEST), prependdir=f"{_INSIDE}/guest", workers=1
    )
