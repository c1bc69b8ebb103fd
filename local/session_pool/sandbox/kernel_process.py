"""One kernel as the host sees it: execute, interrupt, kill."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import ValidationError

from local.session_pool.sandbox.guest import frames
from local.session_pool.sandbox.idleness import Idleness
from local.session_pool.sandbox.output import OutputStream
from local.session_pool.sandbox.replies import Blob, Reply, ReplyFrame

_HELLO_TIMEOUT_S = 30
# With the last descriptor of a file system thousands of files may vanish: beside the loop.
_CLOSING = ThreadPoolExecutor(2, thread_name_prefix="sandbox-close")
_LOOKING = ThreadPoolExecutor(4, thread_name_prefix="sandbox-look")
# A kernel that has replied waits a moment later: so long the loop looks in each of its rounds.
_LOOK_OFTEN_S, _LOOK_AGAIN_S, _LOOK_SELDOM_S = 0.0003, 0.0005, 0.05
# What cannot be seen may be anything: a session is not trusted with it for longer.
MAX_BLIND_S = 1.0
_MAX_BLOBS_BYTES = frames.MAX_BLOBS_BYTES + frames.MAX_RESULT_BYTES


class KernelStartError(Exception):
    """A kernel did not come up; the message holds what it said."""


class KernelDiedError(Exception):
    """The kernel ended, or broke the protocol and was killed, during an execution."""


class OutputsNotKeptError(Exception):
    """This machine could not store the outputs of an execution; the kernel was ended."""


class KernelProcess:
    """A running kernel in its sandbox.

    It makes both ends of its pipes; the guest's go to whoever starts the process. What the event
    loop reads are pipes: unlike a socket they carry no descriptors, which would be closed here.
    Raises `KernelStartError` where this process may not open as many files.

    Attributes:
        died: set when there is no kernel any more.
        pids: the host's pids of the session's pid 1 and of its kernel.
        end_reason: why the host ended it, where its caller has to know; else empty.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        (requests, replies, out, err), (self._hello, self._guest_hello) = _channels()
        self._hello.setblocking(False)
        guest_requests, self._requests = requests
        self._replies, guest_replies = replies
        os.set_blocking(self._requests, False)
        os.set_blocking(self._replies, False)
        self.guest_ends: Sequence[int] = (
            self._guest_hello.fileno(),
            guest_requests,
            guest_replies,
        )
        out_read, self.guest_stdout = out
        err_read, self.guest_stderr = err
        self.stdout = OutputStream(out_read)
        self.stderr = OutputStream(err_read)
        self.died = asyncio.Event()
        self._descriptors: dict[str, int] = {}
        self._buffer = bytearray()
        self._frame: ReplyFrame | None = None
        self._blobs: list[Blob] = []
        self._pending: tuple[int, asyncio.Future[Reply]] | None = None
        self._executions = 0
        self._closed = False
        self._writable: asyncio.Future[None] | None = None
        self._end: asyncio.Future[None] | None = None
        self._callbacks: list[Callable[[], None]] = []
        self.pids = (0, 0)
        self.end_reason = ""
        self._idleness = Idleness(0)

    def close_guest_ends(self) -> None:
        """The process has its own copies by now."""
        self._guest_hello.close()
        for end in self.guest_ends[1:]:
            os.close(end)
        os.close(self.guest_stdout)
        os.close(self.guest_stderr)

    async def send(self, message: dict[str, Any]) -> None:
        """Write one frame; raises `OSError` when nobody can read it any more."""
        view = memoryview(frames.encode(message))
        while view:
            if self.died.is_set():
                raise BrokenPipeError
            try:
                view = view[os.write(self._requests, view) :]
            except BlockingIOError:
                await self._until_writable()

    async def _until_writable(self) -> None:
        self._writable = self._loop.create_future()
        self._loop.add_writer(self._requests, _resolve, self._writable)
        try:
            await self._writable
        finally:
            if not self._closed:
                self._loop.remove_writer(self._requests)

    async def wait_for_hello(self) -> None:
        """Return when the kernel is ready for code.

        Raises:
            KernelStartError: it said something else, or nothing in time.
        """
        greeted: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._hello, _resolve, greeted)
        try:
            async with asyncio.timeout(_HELLO_TIMEOUT_S):
                await greeted
        except TimeoutError:
            raise KernelStartError("the kernel said nothing in time") from None
        finally:
            self._loop.remove_reader(self._hello)
        count = len(frames.HELLO_DESCRIPTORS)
        data, descriptors, _, _ = socket.recv_fds(self._hello, 4096, count)
        self._hello.close()
        if len(descriptors) != count:
            if descriptors:  # this process may open no more: of a session that is there
                _kill(descriptors[0])
            _close_all(descriptors)
            await asyncio.sleep(0.05)  # what it says on stderr comes after it is gone
            words = self.stderr.take(2000).text.strip()
            raise KernelStartError(words or f"the kernel ended before it was ready ({len(data)})")
        self._descriptors = dict(zip(frames.HELLO_DESCRIPTORS, descriptors, strict=True))
        try:
            self.pids = (_pid_of(self._descriptors["init"]), _pid_of(self._descriptors["kernel"]))
        except OSError as error:
            raise KernelStartError(f"its processes cannot be seen: {error.strerror}") from error
        self._idleness = Idleness(self.pids[1])
        self._loop.add_reader(self._replies, self._on_readable)

    @property
    def data_directory(self) -> int:
        """Descriptor of the session's /mnt/data; raises `KernelDiedError` when it is closed."""
        if self._closed:
            raise KernelDiedError
        return self._descriptors["data"]

    @property
    def writable_directories(self) -> dict[str, int]:
        """Descriptors of every folder that the session can write to."""
        if self._closed:
            raise KernelDiedError
        return {name: self._descriptors[name] for name in ("data", "tmp", "shm", "home")}

    @property
    def is_executing(self) -> bool:
        """Whether code runs."""
        return self._pending is not None

    def when_closed(self, callback: Callable[[], None]) -> None:
        """Call back once, after `close`."""
        self._callbacks.append(callback)

    async def execute(
        self, code: str, variables: str = "synchronous", *, marker: str = ""
    ) -> Reply:
        """Run `code`; the caller bounds the time and calls `interrupt` or `kill`.

        It is over when the kernel has replied and waits for more, not when something has replied.

        Args:
            code: Python source.
            variables: which set of variables it works on; a new name is a new, empty set.
            marker: asks for every output, and is written to stdout and stderr where one was shown.

        Raises:
            KernelDiedError: there is no kernel any more.
        """
        if self.died.is_set():
            raise KernelDiedError
        self._executions += 1
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._pending = (self._executions, future)
        try:
            await self.send(
                {
                    "id": self._executions,
                    "code": code,
                    "variables": variables,
                    "marker": marker,
                }
            )
        except OSError:
            self._die()
        reply = await future
        await self._until_idle()
        return reply

    async def _until_idle(self) -> None:
        """Return when the code has ended: it could have written the reply itself, and go on."""
        often_until_s = self._loop.time() + _LOOK_OFTEN_S
        while not self._idleness.waits():
            if self._loop.time() > often_until_s:
                break
            await asyncio.sleep(0)
        else:
            return
        pause_s = _LOOK_AGAIN_S
        seen_s = self._loop.time()
        while True:
            try:
                state = await self._loop.run_in_executor(_LOOKING, self._idleness.look)
                seen_s = self._loop.time()
            except OSError as error:
                state = "busy"
                if self._loop.time() - seen_s > MAX_BLIND_S:
                    self.end(f"whether its code has ended cannot be seen: {error.strerror}.")
            if state == "gone":
                self.end()
            if self.died.is_set():
                raise KernelDiedError
            if state == "idle":
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LOOK_SELDOM_S)

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the code that runs."""
        if not self._closed:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptors["kernel"], signal.SIGINT)

    async def kill(self) -> None:
        """End every process of the session; returns when all are gone."""
        self._die()
        init = self._descriptors.get("init")
        if init is None or self._closed:
            return
        if self._end is None:
            self._end = self._loop.create_future()
            self._loop.add_reader(init, self._on_gone)
            _kill(init)
        # Several may wait for the same end.
        await asyncio.shield(self._end)

    def close(self) -> None:
        """Free every descriptor; the files of the session vanish with the last of them."""
        if self._closed:
            return
        self.end()
        self._closed = True
        if "init" in self._descriptors:
            self._loop.remove_reader(self._descriptors["init"])
        self.stdout.close()
        self.stderr.close()
        self._hello.close()
        self._idleness.close()
        self._loop.remove_writer(self._requests)
        os.close(self._requests)
        os.close(self._replies)
        _CLOSING.submit(_close_all, [*self._descriptors.values()])
        for callback in self._callbacks:
            callback()

    def _on_gone(self) -> None:
        self._loop.remove_reader(self._descriptors["init"])
        if self._end is not None and not self._end.done():
            self._end.set_result(None)

    def end(self, reason: str = "") -> None:
        """Have nothing of the session go on, and do not wait for it; `reason` is `end_reason`."""
        self.end_reason = self.end_reason or reason
        self._die()
        if not self._closed and "init" in self._descriptors:
            _kill(self._descriptors["init"])

    def _die(self) -> None:
        if not self.died.is_set():
            self._loop.remove_reader(self._replies)
            self.died.set()
        if self._writable is not None:
            _resolve(self._writable)
        if self._pending is not None and not self._pending[1].done():
            self._pending[1].set_exception(KernelDiedError())
            # Whoever waited may have been cancelled; nobody else asks.
            self._pending[1].exception()
        self._pending = None

    def _on_readable(self) -> None:
        try:
            data = os.read(self._replies, 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.end()
            return
        self._buffer += data
        try:
            self._consume()
        except (ValidationError, ValueError):
            # No honest kernel says this.
            self.end()
        except OSError as error:  # the disk is full: nobody must wait for a reply that was lost
            if self._pending is not None and not self._pending[1].done():
                self._pending[1].set_exception(OutputsNotKeptError(error.strerror))
            self.end()

    def _consume(self) -> None:
        if self._frame is None:
            if len(self._buffer) < frames.LENGTH.size:
                return
            size = frames.LENGTH.unpack_from(self._buffer)[0]
            if size > frames.MAX_FRAME_BYTES:
                raise ValueError("the frame is too long")
            end = frames.LENGTH.size + size
            if len(self._buffer) < end:
                return
            frame = ReplyFrame.model_validate_json(bytes(self._buffer[frames.LENGTH.size : end]))
            del self._buffer[:end]
            if self._pending is None or self._pending[0] != frame.id:
                raise ValueError("nobody asked for this reply")
            if sum(blob.size_bytes for blob in frame.blobs) > _MAX_BLOBS_BYTES:
                raise ValueError("the outputs are too large")
            self._frame = frame
            self._blobs = [
                Blob(blob.media_type, blob.size_bytes, is_text=blob.is_text) for blob in frame.blobs
            ]
        for blob in self._blobs:
            if blob.missing_bytes and self._buffer:
                part = self._buffer[: blob.missing_bytes]
                blob.write(part)
                del self._buffer[: len(part)]
        if any(blob.missing_bytes for blob in self._blobs):
            return
        if self._buffer or self._pending is None:
            raise ValueError("there is more than one reply")
        reply, future = Reply(self._frame, tuple(self._blobs)), self._pending[1]
        self._frame, self._blobs, self._pending = None, [], None
        if not future.done():
            future.set_result(reply)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _channels() -> tuple[list[tuple[int, int]], tuple[socket.socket, socket.socket]]:
    """Open four pipes and a pair of sockets, or nothing; raises `KernelStartError`."""
    pipes: list[tuple[int, int]] = []
    try:
        for _ in range(4):
            pipes.append(os.pipe())
        return pipes, socket.socketpair()
    except OSError as error:
        _close_all([end for pipe in pipes for end in pipe])
        raise KernelStartError(f"no pipes for a session: {error.strerror}") from error


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _kill(pidfd: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def _pid_of(pidfd: int) -> int:
    """Return its number here; raises `OSError` for one that has ended, or that none can see."""
    with open(f"/proc/self/fdinfo/{pidfd}") as file:
        for line in file:
            if line.startswith("Pid:") and int(line.split()[1]) > 0:
                return int(line.split()[1])
    raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
