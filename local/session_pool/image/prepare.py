"""Prepares the session image: a folder of packages, made once and read by every session.

It is made of the packages in requirements.txt beside this file and of those that the user adds. Its
name is a hash of them and of the Python that runs them, so a change makes another folder.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

_REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_PROJECT = Path(__file__).parents[3]
DEFAULT_ROOT = _PROJECT / ".local" / "session-image"

_CJK_FONT, _CJK_FONT_FILE = "Noto Sans CJK TC", "NotoSansCJKtc-Regular.otf"

Progress = Callable[[str], None]


class ImagePreparationError(Exception):
    """The packages could not be installed; the message holds the installer's last lines."""


def find_session_image(
    extra_requirements: Path | None = None, *, root: Path = DEFAULT_ROOT
) -> Path | None:
    """Return the folder of the image if it is ready, None if it has yet to be prepared."""
    folder = root / _stamp(extra_requirements)
    return folder if (folder / "ready").exists() else None


def prepare_session_image(
    progress: Progress = lambda line: None,
    extra_requirements: Path | None = None,
    *,
    root: Path = DEFAULT_ROOT,
) -> Path:
    """Install the packages unless they are there; blocks for up to a minute or two the first time.

    Args:
        progress: is told each step in a line.
        extra_requirements: a requirements file with more packages for the sessions.
        root: where images are kept.

    Returns:
        The image: `packages/`, `bin/` (commands), `matplotlib/` (its list of fonts and settings).

    Raises:
        ImagePreparationError: the installation failed.
    """
    folder = find_session_image(extra_requirements, root=root)
    if folder is not None:
        return folder
    folder = root / _stamp(extra_requirements)
    root.mkdir(parents=True, exist_ok=True)
    with _alone(root / ".lock", progress):
        if (folder / "ready").exists():
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        requirements = [_REQUIREMENTS, *([extra_requirements] if extra_requirements else [])]
        progress("session image: installing numpy, pandas and others, once (about 900 MB)")
        _install(folder / "packages", requirements, progress)
        _add_cjk_font(folder / "packages")
        _write_commands(folder / "bin")
        progress("session image: listing fonts")
        _list_fonts(folder)
        (folder / "ready").touch()
        progress("session image: ready")
    return folder


def _stamp(extra_requirements: Path | None) -> str:
    digest = hashlib.sha256(_REQUIREMENTS.read_bytes())
    if extra_requirements is not None:
        digest.update(extra_requirements.read_bytes())
    digest.update(f"{sys.version} {platform.machine()} {sysconfig.get_platform()}".encode())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _alone(lock: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock file: two processes may want the same image at once."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("session image: another process is preparing it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install(target: Path, requirements: list[Path], progress: Progress) -> None:
    files = [part for path in requirements for part in ("--requirement", str(path.resolve()))]
    uv = Path(sys.executable).parent / "uv"
    installer = str(uv) if uv.exists() else shutil.which("uv")
    if installer is not None:
        command = [installer, "pip", "install", "--python", sys.executable, "--compile-bytecode"]
    else:
        command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    # Built packages only: an sdist would run its author's code here, outside every sandbox.
    command += ["--only-binary", ":all:", "--target", str(target.resolve()), *files]
    lines: list[str] = []
    with subprocess.Popen(  # noqa: S603 - uv or pip with requirements that whoever starts the pool names: whose packages sessions import is theirs to say
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",  # away from the project, whose uv settings leave numpy out of what is deployed
    ) as process:
        for line in process.stdout or ():
            lines = [*lines[-9:], line.strip()]
            if line.startswith(("Resolved", "Prepared", "Installed", "Bytecode", "Collecting")):
                progress(f"session image: {line.strip()}")
    if process.returncode != 0:
        raise ImagePreparationError(
            "the packages of the session image could not be installed:\n" + "\n".join(lines)
        )


def _add_cjk_font(packages: Path) -> None:
    """Put the font with Chinese, Japanese and Korean where matplotlib looks for its own."""
    for font in packages.glob(f"*/{_CJK_FONT_FILE}"):
        shutil.move(font, packages / "matplotlib" / "mpl-data" / "fonts" / "ttf" / font.name)
    # The package brings it twice.
    (packages / _CJK_FONT_FILE).unlink(missing_ok=True)


def _write_commands(folder: Path) -> None:
    """Write the commands that code expects: those of the packages name a Python of the host."""
    folder.mkdir()
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for name, program in {"python": python, "pip": f"{python} -m pip"}.items():
        for command in (name, f"{name}3"):
            script = folder / command
            script.write_text(f'#!/bin/sh\nexec {program} "$@"\n')
            script.chmod(0o755)


def _list_fonts(folder: Path) -> None:
    """Make matplotlib's list of fonts now: each session would take 150 ms to make its own."""
    cache = folder / "matplotlib"
    cache.mkdir()
    # What the first font has no glyph for is drawn with the next.
    (cache / "matplotlibrc").write_text(f"font.family: sans-serif, {_CJK_FONT}\n")
    program = (
        f"import sys; sys.path.insert(0, {str(folder / 'packages')!r});"
        " import matplotlib.font_manager"
    )
    result = subprocess.run(  # noqa: S603 - the import above; the folder in it is quoted by repr
        [sys.executable, "-I", "-c", program],
        env={"MPLCONFIGDIR": str(cache), "HOME": str(folder), "PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise ImagePreparationError(f"matplotlib does not load:\n{result.stderr[-2000:]}")
