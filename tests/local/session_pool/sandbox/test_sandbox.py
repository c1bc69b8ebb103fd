"""The mechanisms of the sandbox, one by one."""

import asyncio
import contextlib
import ctypes
import errno
import json
import os
import select
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.session_pool import PoolOptions, SessionPool, SessionPoolError
from local.session_pool.files.safe_open import open_beneath, open_by_components
from local.session_pool.image import find_session_image, prepare_session_image
from local.session_pool.sandbox import bubblewrap, seccomp
from local.session_pool.sandbox.fork_server import ForkServerKernels
from local.session_pool.sandbox.guest import frames, probe
from local.session_pool.sandbox.kernel_process import KernelProcess, KernelStartError
from local.session_pool.sandbox.limits import SessionLimits
from local.session_pool.sandbox.plain import PlainKernels
from local.session_pool.sandbox.runtime import GuestRuntime
from local.session_pool.sandbox.self_test import SandboxNotEnforcedError, prove
from local.session_pool.sandbox.start import SandboxStarter
from local.session_pool.sandbox.throwaway_users import ThrowawayUsers, pick
from tests.local.session_pool.sandbox import early_code, killed_pools
from tests.local.session_pool.sandbox.programs import report_of

PROJECT = Path(__file__).parents[4]


class TestSystemCallFilter:
    """The allowlist."""

    @pytest.mark.parametrize(("machine", "arch"), [("x86_64", 0xC000003E), ("aarch64", 0xC00000B7)])
    def test_its_numbers_are_those_of_libseccomp(self, machine: str, arch: int) -> None:
        try:
            library = ctypes.CDLL("libseccomp.so.2")
        except OSError:
            pytest.skip("libseccomp is not installed: nothing to compare with")
        numbers = seccomp.system_calls(machine)
        resolve = library.seccomp_syscall_resolve_name_arch
        resolved = {name: resolve(ctypes.c_uint(arch), name.encode()) for name in numbers}
        # It may be older than some of the calls.
        known = {name: number for name, number in resolved.items() if number >= 0}
        assert len(known) > 0.9 * len(numbers)
        assert known == {name: numbers[name] for name in known}

    @pytest.mark.parametrize(
        "name",
        ["ptrace", "mount", "bpf", "keyctl", "io_uring_setup", "unshare", "setns"],
    )
    def test_it_has_none_that_leads_out(self, name: str) -> None:
        assert name not in seccomp.system_calls("x86_64")

    @pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
    def test_the_program_fits_the_kernels_limit(self, machine: str) -> None:
        program = seccomp.build_filter(machine)
        assert len(program) % 8 == 0
        assert len(program) // 8 <= 4096

    def test_another_processor_is_refused_with_its_name(self) -> None:
        with pytest.raises(seccomp.UnsupportedMachineError, match="riscv64"):
            seccomp.build_filter("riscv64")


@pytest.fixture(params=[open_beneath, open_by_components], ids=lambda function: function.__name__)
def opener(request: pytest.FixtureRequest) -> Callable[[int, bytes, int], int]:
    chosen: Callable[[int, bytes, int], int] = request.param
    return chosen


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "secret").write_text("secret")
    inner = tmp_path / "data"
    (inner / "deep").mkdir(parents=True)
    (inner / "deep" / "file").write_text("content")
    (inner / "link").symlink_to("../secret")
    (inner / "out").symlink_to("..")
    (inner / "loop").symlink_to("loop")
    descriptor = os.open(inner, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


class TestSafeOpen:
    """With and without openat2."""

    def test_a_file_below_is_opened(
        self, opener: Callable[[int, bytes, int], int], folder: int
    ) -> None:
        descriptor = opener(folder, b"deep/file", os.O_RDONLY)
        assert os.read(descriptor, 100) == b"content"
        os.close(descriptor)

    @pytest.mark.parametrize(
        "path",
        [b"link", b"out/secret", b"../secret", b"deep/../../secret", b"/etc/passwd", b"loop", b""],
    )
    def test_nothing_else_is(
        self, opener: Callable[[int, bytes, int], int], folder: int, path: bytes
    ) -> None:
        codes = {errno.ELOOP, errno.EXDEV, errno.ENOENT, errno.EINVAL, errno.ENOTDIR}
        with pytest.raises(OSError, check=lambda error: error.errno in codes):
            opener(folder, path, os.O_RDONLY)


class TestThrowawayUsers:
    """Who runs sandboxes for root."""

    def test_they_are_high_where_every_number_is_mapped(self) -> None:
        first, count = pick(["         0          0 4294967295"])
        assert first >= 1_900_000_000
        assert count > 600  # sessions that can be alive

    def test_they_are_in_the_range_of_a_container(self) -> None:
        first, count = pick(["0 1000 1", "1 100000 65536"])
        assert 1 < first < first + count <= 65537
        assert count > 600

    def test_each_session_has_one_of_its_own(self) -> None:
        users = ThrowawayUsers(100_000, 5)
        taken = [users.take() for _ in range(3)]
        assert taken == [100_002, 100_003, 100_004]
        assert [users.inside(uid) for uid in taken] == [1001, 1002, 1003]
        assert users.uid_map == "0 100000 1\n1000 100001 1\n1001 100002 3\n"
        with pytest.raises(KernelStartError, match="no user is free"):
            users.take()
        users.give_back(100_003)
        assert users.take() == 100_003


class TestBubblewrap:
    """The boundary."""

    def test_no_path_of_the_host_is_bound_for_writing(self, tmp_path: Path) -> None:
        runtime = GuestRuntime.of_this_interpreter(tmp_path)
        options = bubblewrap.arguments(
            runtime, SessionLimits(), relocated={}, nested=False, seccomp_descriptor=3
        )
        assert "--bind" not in options
        devices = [options[n + 1] for n, each in enumerate(options) if each == "--dev-bind"]
        assert devices == ["/dev/full"]
        assert "--share-net" not in options
        assert "--disable-userns" in options

    def test_a_missing_bubblewrap_says_what_to_type(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(bubblewrap.BubblewrapMissingError, match="apt-get install bubblewrap"):
            bubblewrap.find_bubblewrap()


class _Source:
    """Starts no kernels."""

    name = "broken"
    uid: int | None = None

    def __init__(self, words: str) -> None:
        self._words = words

    async def start(self) -> None: ...

    async def spawn(self) -> KernelProcess:
        raise KernelStartError(self._words)

    async def close(self) -> None: ...


class TestSelfTest:
    """No sandbox, no session."""

    @pytest.mark.parametrize(
        ("words", "remedy"),
        [
            ("bwrap: setting up uid map: Permission denied", "apparmor_restrict"),
            ("bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted", "AppArmor"),
            ("bwrap: No permissions to create new namespace", "unprivileged_userns_clone"),
            ("bwrap: Can't mount proc on /newroot/proc", "systempaths=unconfined"),
            ("os.unshare(os.CLONE_NEWNS)\nPermissionError", "cap-add SYS_ADMIN"),
            ("bwrap: Unknown option --disable-userns", "0.8 or later"),
            ("something else", "something else"),
        ],
    )
    async def test_what_bubblewrap_says_becomes_a_remedy(self, words: str, remedy: str) -> None:
        with pytest.raises(SandboxNotEnforcedError, match=remedy):
            await prove(_Source(words))

    def test_the_probe_sees_that_it_is_outside(self) -> None:
        # In a process of its own: outside, an attempt may succeed.
        program = "from local.session_pool.sandbox.guest import probe; probe.main()"
        result = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, check=True, cwd=PROJECT
        )
        findings = json.loads(result.stdout)["controls"]
        assert set(findings) == set(probe.CONTROLS)
        assert not findings["own network namespace"] or not findings["own pid namespace"]
        assert not findings["system call filter"]

    async def test_a_pool_without_bubblewrap_does_not_start(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        image = prepare_session_image()
        monkeypatch.setenv("PATH", str(tmp_path))
        pool = SessionPool(_NoVerifier(), PoolOptions(image=image))
        with pytest.raises(SessionPoolError, match="apt-get install bubblewrap"):
            await pool.__aenter__()


@pytest.mark.asyncio(loop_scope="session")
async def test_a_plain_session_whose_start_is_given_up_leaves_no_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = await asyncio.to_thread(prepare_session_image)
    starter = SandboxStarter(GuestRuntime.of_this_interpreter(image), SessionLimits())
    started: list[subprocess.Popen[bytes]] = []
    start = starter.start

    async def noted(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(await start(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(starter, "start", noted)
    source = PlainKernels(starter)
    spawning = asyncio.create_task(source.spawn())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    spawning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await spawning
    assert [process.poll() is not None for process in started] == [True]
    await source.close()
    starter.close()


@pytest.mark.parametrize(
    ("way", "ordinary"),
    [("plain", False), ("plain", True), ("fork server", False), ("control", True)],
)
def test_a_pool_that_is_killed_at_any_moment_leaves_no_process(way: str, ordinary: bool) -> None:
    # pytest's own folders are closed to other users.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        killed_pools.write_slow_bubblewrap(Path(folder))
        found = report_of(killed_pools, way, folder, ordinary=ordinary)
    # What bubblewrap promises by itself comes too late for these.
    assert found["left"] == (found["kills"] if way == "control" else 0)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("way", ["fork server", "plain"])
async def test_a_session_ends_with_the_pools_pipe_whatever_its_kernel_does(way: str) -> None:
    image = await asyncio.to_thread(prepare_session_image)
    starter = SandboxStarter(GuestRuntime.of_this_interpreter(image), SessionLimits())
    source = PlainKernels(starter) if way == "plain" else ForkServerKernels(starter, ())
    await source.start()
    kernel = await source.spawn()
    init, stopped = map(os.pidfd_open, kernel.pids)
    signal.pidfd_send_signal(stopped, signal.SIGSTOP)
    requests = os.readlink(f"/proc/{kernel.pids[1]}/fd/{frames.REQUESTS}")
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(f"/proc/self/fd/{number}") == requests:
                os.dup2(init, int(number))  # which closes what was there
    ending = select.poll()
    ending.register(init, select.POLLIN)
    assert await asyncio.to_thread(ending.poll, 10_000)
    kernel.close()
    await source.close()
    starter.close()
    os.close(init)
    os.close(stopped)


@pytest.mark.parametrize(
    ("case", "ordinary"), [("race", False), ("race", True), ("slow", True), ("control", True)]
)
def test_no_code_runs_before_pid_1_is_locked_in(case: str, ordinary: bool) -> None:
    won = report_of(early_code, case, ordinary=ordinary)["won"]
    assert list(won) == ["fork server", "plain"]
    assert {bool(what) for what in won.values()} == {case == "control"}


class _NoVerifier:
    def verify(self, authorization: str | None) -> object:
        raise NotImplementedError


class TestSessionImage:
    """The packages of the sessions."""

    def test_a_second_preparation_installs_nothing(self) -> None:
        first = prepare_session_image()
        lines: list[str] = []
        assert prepare_session_image(lines.append) == first
        assert lines == []
        assert (first / "matplotlib").is_dir()
        assert list((first / "packages" / "numpy" / "__pycache__").glob("*.pyc"))

    def test_more_packages_make_another_image(self, tmp_path: Path) -> None:
        more = tmp_path / "more.txt"
        more.write_text("cowsay\n")
        assert find_session_image(more) is None
        assert find_session_image() is not None


class TestOptions:
    """What a pool may be."""

    @pytest.mark.parametrize(
        "options", [{"cooldown_s": 299}, {"cooldown_s": 3601}, {"max_sessions": 601}]
    )
    def test_azures_bounds_hold(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="Azure allows"):
            PoolOptions(**options)

    def test_the_path_looks_like_azures(self) -> None:
        assert PoolOptions(subscription="s", resource_group="g", name="p").path == (
            "/subscriptions/s/resourceGroups/g/sessionPools/p"
        )


def test_the_guest_is_readable_by_every_user() -> None:
    guest = Path(probe.__file__).parent
    modes = {path.name: path.stat().st_mode for path in guest.glob("*.py")}
    assert "kernel.py" in modes
    assert [name for name, mode in modes.items() if not mode & stat.S_IROTH] == []
