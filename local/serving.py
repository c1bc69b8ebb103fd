"""Serves every stand-in: on loopback only, under a Host header that names loopback."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

_MISDIRECTED = (
    b'{"error":{"code":"MisdirectedRequest","message":"The Host header must name loopback."}}'
)
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class PortInUseError(Exception):
    """Something else listens on the port that was asked for."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} is in use: stop what listens there or choose another port")
        self.port = port


class LoopbackHostOnly:
    """Refuses requests whose Host header names another machine.

    Without this a web page in the developer's browser could reach the stand-ins by a DNS name of
    its own that resolves to 127.0.0.1 (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, host_name: str | None = None) -> None:
        """Args: what to protect; one more name that the Host header may have."""
        self._app = app
        self._names = LOOPBACK_NAMES | ({host_name} if host_name else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 421 instead of the app if the Host header names another machine."""
        if scope["type"] == "http" and not self._names_loopback(scope):
            body = _MISDIRECTED
            headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 421, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        await self._app(scope, receive, send)

    def _names_loopback(self, scope: Scope) -> bool:
        # Names of hosts have no case.
        hosts = [
            value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"
        ]
        if len(hosts) != 1:
            return False
        name, colon, port = hosts[0].rpartition(":")
        # An IPv6 literal without a port has colons of its own.
        return hosts[0] in self._names or (
            colon == ":" and name in self._names and port.isascii() and port.isdigit()
        )


class _Server(uvicorn.Server):
    """Leaves signals to the owner of the event loop, and stops at once: a test starts many."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Have `serve` end."""
        self.should_exit = True
        self._stopped.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        seconds = 0
        while not await self.on_tick(seconds * 10):  # it renews the Date header at every tenth tick
            seconds += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), timeout=1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
        else:
            for server in self.servers:
                server.close()


@contextlib.asynccontextmanager
async def serve(
    app: ASGIApp,
    port: int = 0,
    *,
    tls_files: tuple[str, str] | None = None,
    host_name: str | None = None,
    also_ipv6: bool = False,
    grace_s: int = 2,
) -> AsyncIterator[str]:
    """Serve `app` on loopback while the block runs; the value is its base URL on 127.0.0.1.

    Args:
        app: an ASGI application; its lifespan events are not sent.
        port: 0 takes a free one.
        tls_files: certificate and key files (PEM); https instead of http.
        host_name: a name that clients reach this machine by, besides those of loopback.
        also_ipv6: listen on ::1 too where the machine has it, for clients of "localhost".
        grace_s: how long running requests may go on after the block has ended.

    Raises:
        PortInUseError: something else listens on `port`.
    """
    listeners = _listen(port, also_ipv6=also_ipv6)
    config = uvicorn.Config(
        LoopbackHostOnly(app, host_name),
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=grace_s,
        # Longer than clients keep connections (httpx 5 s, aiohttp 15 s): who sends in the moment in
        # which the server closes one gets no answer.
        timeout_keep_alive=75,
        ssl_certfile=tls_files[0] if tls_files else None,
        ssl_keyfile=tls_files[1] if tls_files else None,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(listeners))
    try:
        while not server.started:
            await asyncio.sleep(0.001)
            if task.done():
                await task
        scheme = "https" if tls_files else "http"
        yield f"{scheme}://127.0.0.1:{listeners[0].getsockname()[1]}"
    finally:
        server.stop()
        await task
        for listener in listeners:
            listener.close()


def refuse_ports_in_use(*ports: int) -> None:
    """Find out early which port cannot be had.

    Raises:
        PortInUseError: something listens on one of them.
    """
    for port in ports:
        for listener in _listen(port, also_ipv6=True):
            listener.close()


def free_port() -> int:
    """Find a port on which nothing listens, for a process that cannot tell which one it took."""
    listeners = _listen(0, also_ipv6=True)
    number = int(listeners[0].getsockname()[1])
    for listener in listeners:
        listener.close()
    return number


def _listen(port: int, *, also_ipv6: bool) -> list[socket.socket]:
    listener = _listener(socket.AF_INET, "127.0.0.1", port)
    if not also_ipv6:
        return [listener]
    port = listener.getsockname()[1]
    try:
        return [listener, _listener(socket.AF_INET6, "::1", port)]
    except PortInUseError:
        listener.close()
        raise
    except OSError:
        return [listener]  # this machine has no IPv6 loopback


def _listener(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    # asyncio switches Nagle's algorithm off only on sockets that name their protocol; with it on,
    # an answer of two parts waits 40 ms for the peer's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        # Two sockets with SO_REUSEADDR may be bound to one port; the second to listen is refused.
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(port) from error
        raise
    return listener
