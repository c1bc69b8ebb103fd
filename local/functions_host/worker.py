"""The worker: Microsoft's runtime library indexes function_app.py and calls its functions."""

import asyncio
import importlib
import importlib.metadata
import json
import logging
import os
import re
import secrets
import sys
import traceback
import uuid
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime as runtime
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from local.functions_host import messages
from local.functions_host.errors import FunctionAppError
from local.functions_host.routes import ALL_METHODS, AuthLevel, HttpFunction, RouteMatch

_EXTENSION = "azurefunctions.extensions.http.fastapi"
_INVOCATION_ID = b"x-ms-invocation-id"
# Only versions after 00 may say more. https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(
    r"(?!ff)(?:00(?!.{54})|(?!00)[0-9a-f]{2})"
    r"-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)

log = logging.getLogger("local.functions_host")


class FunctionFailedError(Exception):
    """A function raised; the caller has been answered. The message is the exception's."""

    def __init__(self, message: str, stack_trace: str) -> None:
        super().__init__(message)
        self.stack_trace = stack_trace


class Worker:
    """Loads one app folder and calls its functions.

    The library keeps its state in module globals, the app in `sys.modules`: one per process.

    Args:
        app_dir: the folder with function_app.py.
        script_file_name: another name for function_app.py (PYTHON_SCRIPT_FILE_NAME).
    """

    def __init__(self, app_dir: Path, script_file_name: str = "function_app.py") -> None:
        self._app_dir = app_dir.resolve()
        self._script_file_name = script_file_name
        self._web_app: ASGIApp | None = None

    @property
    def version(self) -> str:
        """The name and version of the library."""
        return f"azure-functions-runtime {importlib.metadata.version('azure-functions-runtime')}"

    async def load(self, route_prefix: str) -> list[HttpFunction]:
        """Index the app; must run in the event loop that will serve.

        Raises:
            FunctionAppError: the app cannot be indexed; says where and why.
        """
        self._import_app()
        self._serve_in_this_process()
        runtime.start_threadpool_executor()  # where functions without `async` run
        init = await self._ask(
            "worker_init_request", capabilities={}, function_app_directory=str(self._app_dir)
        )
        if init.result.status != messages.StatusResult.Success:
            raise FunctionAppError(init.result.exception.message)
        if self._web_app is None:
            raise FunctionAppError(
                f"this version of azure-functions-runtime no longer calls {_EXTENSION}.WebServer"
            )
        answer = await self._ask("functions_metadata_request")
        return list(_http_functions(answer.function_metadata_results or [], route_prefix))

    async def invoke(self, match: RouteMatch, scope: Scope, receive: Receive, send: Send) -> None:
        """Call a function with an ASGI request; bodies are neither copied nor buffered.

        A caller who hangs up cancels the function's response generator. A function that has not
        answered yet runs on unless it polls `request.is_disconnected()`; so it is in Azure.

        Raises:
            FunctionFailedError: the function raised an exception.
        """
        if self._web_app is None:
            raise RuntimeError("load() comes first")
        invocation_id = str(uuid.uuid4())
        runtime.invocation_id_cv.set(invocation_id)  # log handlers of the app read it
        headers = Headers(scope=scope)
        call = asyncio.create_task(
            self._ask(
                "invocation_request",
                invocation_id=invocation_id,
                function_id=match.function.function_id,
                trigger_metadata={},
                input_data=[
                    messages.ParameterBinding(
                        name=match.function.trigger_parameter,
                        data=messages.TypedData(http=messages.RpcHttp(params=match.parameters)),
                    )
                ],
                trace_context=_trace_of(headers),
                retry_context=messages.RetryContext(),
            )
        )
        try:
            await self._web_app(_with_invocation_id(scope, invocation_id), receive, send)
        except Exception:
            # Either the function raised and the caller has a 500, which is reported below; or its
            # stream broke, and the server must cut the connection.
            if not call.done() or call.exception() or not _failed(call.result()):
                raise
        answer = await call
        if _failed(answer):
            failure = answer.result.exception
            raise FunctionFailedError(failure.message, failure.stack_trace)

    def _import_app(self) -> None:
        """Import the app as the library will, which then finds it in `sys.modules`."""
        if not (self._app_dir / self._script_file_name).is_file():
            raise FunctionAppError(f"there is no {self._script_file_name} in {self._app_dir}")
        packages = self._app_dir / ".python_packages" / "lib" / "site-packages"
        sys.path[:0] = [str(self._app_dir)] + [str(packages)] * packages.is_dir()
        os.chdir(self._app_dir)
        try:
            importlib.import_module(Path(self._script_file_name).stem)
        except (Exception, SystemExit) as error:
            raise FunctionAppError(
                f"{self._script_file_name} failed.\n{_traceback_from(self._app_dir, error)}"
            ) from None

    def _serve_in_this_process(self) -> None:
        """Take over the ASGI app that the library would serve on a second port."""
        extension: Any = sys.modules.get(_EXTENSION)
        if extension is None:
            raise FunctionAppError(
                f"{self._script_file_name} does not import {_EXTENSION} at module level: Azure "
                "would buffer its requests and responses, and this host only streams"
            )

        def serve(server: Any) -> Any:
            self._web_app = server.web_app
            return asyncio.sleep(0)  # the library makes a task of it

        extension.WebServer.serve = serve

    @staticmethod
    async def _ask(kind: str, **fields: object) -> Any:
        request = SimpleNamespace(**{kind: SimpleNamespace(**fields)})
        properties = {"protos": messages, "host": "127.0.0.1"}
        handler = getattr(runtime, kind)
        return await handler(SimpleNamespace(name=kind, request=request, properties=properties))


def _failed(answer: Any) -> bool:
    return bool(answer.result.status != messages.StatusResult.Success)


def _trace_of(headers: Headers) -> messages.RpcTraceContext:
    """Azure's host too has a trace for each invocation: the caller's, or its own."""
    parent, state = headers.get("traceparent", ""), headers.get("tracestate", "")
    if not _TRACEPARENT.fullmatch(parent):
        # What is said of a trace that is none is dropped with it.
        parent, state = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01", ""
    return messages.RpcTraceContext(trace_parent=parent, trace_state=state, attributes={})


def _with_invocation_id(scope: Scope, invocation_id: str) -> Scope:
    """Replace an invocation id that the caller sent: the library finds invocations by it."""
    headers = [header for header in scope["headers"] if header[0] != _INVOCATION_ID]
    return {**scope, "headers": [*headers, (_INVOCATION_ID, invocation_id.encode())]}


def _http_functions(indexed: Iterable[Any], route_prefix: str) -> Iterable[HttpFunction]:
    for function in indexed:
        bindings = [json.loads(binding) for binding in function.raw_bindings]
        by_type = {binding["type"].lower(): binding for binding in bindings}
        trigger = by_type.get("httptrigger")
        if trigger is None or by_type.keys() - {"httptrigger", "http"}:
            log.warning(
                "%s is not served here: it is bound to %s", function.name, ", ".join(by_type)
            )
            continue
        route = str(trigger.get("route") or function.name)
        yield HttpFunction(
            name=function.name,
            function_id=function.function_id,
            trigger_parameter=trigger["name"],
            template="/".join(part for part in (route_prefix, route.strip("/")) if part),
            methods=tuple(method.upper() for method in trigger.get("methods") or ALL_METHODS),
            auth_level=_auth_level(trigger.get("authLevel") or "function"),
        )


def _auth_level(text: str) -> AuthLevel:
    match text.lower():
        case "anonymous":
            return "anonymous"
        case "admin":
            return "admin"
        case _:
            return "function"


def _traceback_from(app_dir: Path, error: BaseException) -> str:
    """Format an exception from the app's own first line on: what imported it says nothing."""
    packages = (str(app_dir / ".python_packages"), str(app_dir / ".venv"))
    frame = error.__traceback__
    while frame is not None:
        file = frame.tb_frame.f_code.co_filename
        if file.startswith(str(app_dir)) and not file.startswith((*packages, __file__)):
            break
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame)).rstrip()
