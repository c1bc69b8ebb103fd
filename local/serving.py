"""How every stand-in listens: on loopback only, under a Host header that names loopback."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class PortInUseError(Exception):
    """Something else listens on the port that was asked for."""

    def __init__(self, port: int) -> None:
        super().__init__(
            f"port {port} on 127.0.0.1 is in use: stop what listens there or choose another port"
        )
        self.port = port


class LoopbackHostOnly:
    """Refuses requests whose Host header names another machine.

    Without this a web page in the developer's browser could reach the stand-ins by a DNS name of its
    own that resolves to 127.0.0.1 (DNS rebinding).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._names_loopback(scope):
            body = b'{"error":{"code":"MisdirectedRequest","message":"The Host header must name loopback."}}'
            headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 421, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        await self._app(scope, receive, send)

    @staticmethod
    def _names_loopback(scope: Scope) -> bool:
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1:
            return False
        name, colon, port = hosts[0].rpartition(":")
        # An IPv6 literal without a port has colons of its own.
        return hosts[0] in LOOPBACK_NAMES or (
            colon == ":" and name in LOOPBACK_NAMES and port.isascii() and port.isdigit()
        )


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs the event loop: several of these share one process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serve(
    app: ASGIApp, port: int = 0, *, tls_files: tuple[str, str] | None = None
) -> AsyncIterator[str]:
    """Serve `app` on 127.0.0.1 while the block runs; the value is its base URL.

    Args:
        app: an ASGI application; its lifespan events are not sent.
        port: 0 takes a free one.
        tls_files: certificate and key files (PEM); https instead of http.

    Raises:
        PortInUseError: something else listens on `port`.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise PortInUseError(port) from error
    config = uvicorn.Config(
        LoopbackHostOnly(app),
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        ssl_certfile=tls_files[0] if tls_files else None,
        ssl_keyfile=tls_files[1] if tls_files else None,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve([listener]))
    try:
        while not server.started:
            await asyncio.sleep(0.001)
            if task.done():
                await task
        scheme = "https" if tls_files else "http"
        yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()
