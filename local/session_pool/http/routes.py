"""Maps path and API version to an operation."""

import re
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from local.session_pool.errors import NotSupportedError
from local.session_pool.http import executions, files, sessions
from local.session_pool.http.api_versions import ApiVersion
from local.session_pool.http.service_call import Call, Services

Handler = Callable[[Call], Awaitable[Response]]
Serves = Callable[[ApiVersion], bool]


def _flat(version: ApiVersion) -> bool:
    return version.is_flat


def _wrapped(version: ApiVersion) -> bool:
    return not version.is_flat


def _with_sessions(version: ApiVersion) -> bool:
    return version.has_sessions


def _any(version: ApiVersion) -> bool:
    return True


_OPERATIONS: list[tuple[str, re.Pattern[str], Serves, Handler]] = [
    (method, re.compile(pattern, re.DOTALL), serves, handler)
    for method, pattern, serves, handler in (
        ("POST", "executions", _flat, executions.execute),
        ("GET", "executions/(?P<id>.+)", _flat, executions.get_execution),
        ("POST", "code/execute/?", _wrapped, executions.execute),
        ("POST", "files/upload", _wrapped, files.upload),
        ("GET", "files/content/(?P<name>.+)", _wrapped, files.download),
        ("GET", "files/?", _any, files.list_files),
        ("POST", "files/?", _flat, files.upload),
        ("GET", "files/(?P<name>.+)/content", _flat, files.download),
        ("GET", "files/(?P<name>.+)", _any, files.describe),
        ("DELETE", "files/(?P<name>.+)", _any, files.delete),
        ("GET", "session", _with_sessions, sessions.get_session),
        ("DELETE", "session", _with_sessions, sessions.delete_session),
        ("GET", "listSessions", _with_sessions, sessions.list_sessions),
        ("GET", "metadata", _with_sessions, sessions.get_metadata),
        ("POST", r"\.management/getSession", _any, sessions.get_session),
        ("POST", r"\.management/listSessions", _any, sessions.list_sessions),
    )
]


async def serve(
    services: Services, request: Request, version: ApiVersion, path: str, received_s: float
) -> Response:
    """Answer a request for `path` below the pool's.

    Raises:
        PoolError: the answer is an error.
    """
    for method, pattern, serves, handler in _OPERATIONS:
        found = pattern.fullmatch(path)
        if found and method == request.method and serves(version):
            call = Call(services, request, version, path, found.groupdict(), received_s)
            return await handler(call)
    raise NotSupportedError(
        f"{request.method} {path} is not supported in API version {version.name}.", "endpoint"
    )
