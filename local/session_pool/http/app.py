"""The pool's ASGI application: who may call, what goes wrong on demand, errors, headers, log."""

import asyncio
import json
import logging
import time
import urllib.parse
import uuid
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from local.session_pool.errors import (
    PoolError,
    PoolStoppingError,
    SessionNotFoundError,
    UnauthorizedError,
)
from local.session_pool.http.api_versions import API_VERSIONS
from local.session_pool.http.auth import TokenRefusedError, TokenVerifier
from local.session_pool.http.faults import DroppedConnectionError, Faults
from local.session_pool.http.routes import serve
from local.session_pool.http.service_call import Services
from local.session_pool.http.wire.values import json_bytes
from local.session_pool.sandbox.kernel_process import KernelDiedError

_log = logging.getLogger(__name__)


class PoolApp:
    """Serves one pool under its path."""

    def __init__(
        self, base: str, verifier: TokenVerifier, faults: Faults, *, log_requests: bool
    ) -> None:
        self._base = base
        self._verifier = verifier
        self._faults = faults
        self._log_requests = log_requests
        self.services: Services | None = None
        self._requests: set[asyncio.Task[Any]] = set()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Answer what still runs, and all that comes, with the error that the pool stops."""
        self._stopping.set()
        for request in self._requests:
            request.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        received_s = time.monotonic()
        request = Request(scope, receive)
        trace_id = uuid.uuid4().hex
        code = ""
        try:
            response = await self._serve_unless_stopping(request, received_s)
        except PoolError as error:
            response, code = self._error_response(error, trace_id), error.code
        except KernelDiedError:
            # The session ended between its allocation and its use.
            missing = SessionNotFoundError(request.query_params.get("identifier", ""))
            response, code = self._error_response(missing, trace_id), missing.code
        except ClientDisconnect:
            return
        except DroppedConnectionError:
            await _drop(send)
            return
        except Exception:
            # Never a bare 500: clients read the service's envelope.
            _log.exception("a request could not be answered")
            failed = PoolError("The request could not be answered.")
            response, code = self._error_response(failed, trace_id), failed.code
        response.headers["mise-correlation-id"] = trace_id
        response.headers["api-supported-versions"] = ", ".join(API_VERSIONS)
        if self._log_requests:
            self._log_line(request, response, code, received_s)
        try:
            await response(scope, receive, send)
        except asyncio.CancelledError:  # its reader was too slow for the server that ends
            if not self._stopping.is_set():
                raise

    async def _serve_unless_stopping(self, request: Request, received_s: float) -> Response:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for mypy: a server calls an app in a task
        if self._stopping.is_set():
            raise PoolStoppingError
        self._requests.add(task)
        try:
            return await self._serve(request, received_s)
        except asyncio.CancelledError:
            if not self._stopping.is_set():
                raise
            task.uncancel()
            raise PoolStoppingError from None
        finally:
            self._requests.discard(task)

    async def _serve(self, request: Request, received_s: float) -> Response:
        path = urllib.parse.unquote(
            request.scope["raw_path"].decode("ascii"), errors="surrogateescape"
        )
        if self.services is None or not path.lower().startswith(f"{self._base.lower()}/"):
            raise _PoolNotFoundError
        await self._faults.before_request()
        try:
            self._verifier.verify(request.headers.get("authorization"))
        except TokenRefusedError as error:
            _log.info("401: %s", error)
            raise UnauthorizedError(str(error)) from error
        version = API_VERSIONS.get(request.query_params.get("api-version", ""))
        if version is None:
            _log.info("401: the api-version is not known")
            raise UnauthorizedError("unknown api-version")
        below = path[len(self._base) + 1 :]
        return await serve(self.services, request, version, below, received_s)

    def _error_response(self, error: PoolError, trace_id: str) -> Response:
        if isinstance(error, UnauthorizedError):
            return Response(status_code=401, headers={"www-authenticate": "Bearer"})
        headers = {"x-ms-error-code": error.code}
        if error.status == 429 and self._faults.retry_after_s is not None:
            headers["retry-after"] = str(self._faults.retry_after_s)
        body = json_bytes(error.body(trace_id))
        return Response(body, error.status, headers, "application/json")

    @staticmethod
    def _log_line(request: Request, response: Response, code: str, received_s: float) -> None:
        """One line of JSON: no code, no output, no file name, and no whole identifier."""
        line = {
            "method": request.method,
            "operation": request.url.path.rpartition("/sessionPools/")[2].split("/", 2)[1:2],
            "api_version": request.query_params.get("api-version"),
            "identifier": (request.query_params.get("identifier") or "")[:4] + "…",
            "status": response.status_code,
            "error_code": code,
            "session_guid": response.headers.get("x-ms-session-guid"),
            "duration_ms": round((time.monotonic() - received_s) * 1000, 1),
        }
        _log.info("%s", json.dumps(line, ensure_ascii=False))


class _PoolNotFoundError(PoolError):
    status, code = 404, "SessionPoolNotFound"

    def __init__(self) -> None:
        super().__init__("There is no session pool under this URL.")


async def _drop(send: Send) -> None:
    """Announce a body and never send it: the server closes the connection."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"id":', "more_body": True})
    raise DroppedConnectionError
