"""The host: checks the key, finds the function, answers for itself on / and /admin."""

import logging
import time
import uuid
from collections.abc import Iterable

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from local.functions_host.keys import FunctionKey
from local.functions_host.routes import HttpFunction, RouteMatch, RouteTable
from local.functions_host.settings import HostJson
from local.functions_host.worker import FunctionFailedError, Worker

log = logging.getLogger("local.functions_host")

_HOME_PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Functions host</title>
<h1>The functions host is running.</h1>
<p>Its functions, with the methods they take:</p>
<ul>%s</ul>
"""


class FunctionsHost:
    """ASGI app around one worker.

    It listens before the app is indexed, as in Azure: until `load` is done it is "Initializing" and
    answers 503.
    """

    def __init__(self, worker: Worker, host_json: HostJson, key: FunctionKey) -> None:
        self._worker = worker
        self._host_json = host_json
        self._key = key
        self._routes: RouteTable | None = None
        self._id = str(uuid.uuid4())
        self._started_at_s = time.monotonic()

    async def load(self) -> list[HttpFunction]:
        """Index the app and begin to serve its functions.

        Raises:
            FunctionAppError: the app cannot be indexed or a route is malformed.
        """
        functions = await self._worker.load(self._host_json.route_prefix)
        self._routes = RouteTable(functions)
        return self._routes.functions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: the host's own pages first, then the app's functions."""
        send = self._with_custom_headers(send)
        own = self._answer_of_the_host(scope)
        if own is not None:
            await own(scope, receive, send)
        elif self._routes is None:
            await Response("Function host is not running.", 503)(scope, receive, send)
        else:
            await self._call_function(self._routes, scope, receive, send)

    async def _call_function(
        self, routes: RouteTable, scope: Scope, receive: Receive, send: Send
    ) -> None:
        match = routes.match(scope["method"], scope["raw_path"].decode("latin-1"))
        if match is not None and self._key.admits(scope, match.function.auth_level):
            await self._invoke(match, scope, receive, send)
        elif match is not None:
            await Response(status_code=401)(scope, receive, send)
        elif scope["path"] == "/" and scope["method"] == "GET":
            await self._home_page(routes.functions)(scope, receive, send)
        else:
            await Response(status_code=404)(scope, receive, send)

    async def _invoke(self, match: RouteMatch, scope: Scope, receive: Receive, send: Send) -> None:
        name, began_s = match.function.name, time.monotonic()
        outcome = "Failed"
        try:
            await self._worker.invoke(match, scope, receive, send)
            outcome = "Succeeded"
        except FunctionFailedError as failure:
            log.error("%s raised %s\n%s", name, failure, failure.stack_trace)
        finally:
            duration_ms = (time.monotonic() - began_s) * 1000
            log.info("Executed 'Functions.%s' (%s, Duration=%.0fms)", name, outcome, duration_ms)

    def _answer_of_the_host(self, scope: Scope) -> Response | None:
        """Answer a request to the host itself; None if it is for the app."""
        path = scope["path"].rstrip("/").lower()
        if path != "/admin" and not path.startswith("/admin/"):
            return None
        if path == "/admin/host/ping":
            return Response()
        if not self._key.admits(scope, "admin"):
            return Response(status_code=401)
        if path == "/admin/host/status" and scope["method"] == "GET":
            return JSONResponse(self._status())
        return Response(status_code=404)

    def _status(self) -> dict[str, object]:
        return {
            "id": self._id,
            "state": "Initializing" if self._routes is None else "Running",
            "version": self._worker.version,
            "processUptime": int((time.monotonic() - self._started_at_s) * 1000),
        }

    @staticmethod
    def _home_page(functions: Iterable[HttpFunction]) -> Response:
        rows = (f"<li>{f.name}: {', '.join(f.methods)} /{f.template}</li>" for f in functions)
        return HTMLResponse(_HOME_PAGE % "".join(rows))

    def _with_custom_headers(self, send: Send) -> Send:
        """Add `extensions.http.customHeaders` of host.json to every answer."""
        custom = self._host_json.custom_headers
        if not custom:
            return send

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *custom]}
            await send(message)

        return send_with_headers
