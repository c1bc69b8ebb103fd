"""Dispatches each request to the module of its route, and turns any exception into an answer.

A module is imported when its route is first asked for: most workers never serve most routes, and a
cold start pays for each import.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from agent.conversations.owner import owner_of
from agent.errors import (
    AgentError,
    CrossSiteRequestError,
    MethodNotAllowedError,
    frames_of,
    let_go_of_frames,
)
from agent.frozen import frozen
from agent.host_log import invocation
from agent.http.disconnect import DisconnectedError
from agent.http.problems import ErrorBody, error_response, operation_id, problem_body
from agent.telemetry import log_content, logger
from agent.telemetry.turns import request_context

# Route, as function_app.py names it → the module whose ROUTES have it.
_MODULES: Final = {
    "chat": "agent.http.chat",
    "agui": "agent.http.agui",
    "conversations": "agent.http.conversations",
    "conversation": "agent.http.conversations",
    "files": "agent.http.conversations",
    "file": "agent.http.conversations",
    "completions": "agent.http.openai.routes",
    "models": "agent.http.openai.routes",
    "model": "agent.http.openai.routes",
    "capabilities": "agent.http.capabilities",
    "page": "agent.http.page.routes",
    "page_asset": "agent.http.page.routes",
    "openapi": "agent.http.openapi",
    "health_live": "agent.http.health",
    "health_ready": "agent.http.health",
}
# What anybody may ask for where callers must sign in: a probe has no identity, and the page holds
# nothing secret.
_ANONYMOUS: Final = frozenset({"health_live", "page", "page_asset"})
# nginx's status for a caller that is gone; nobody reads it but the host's log.
CLIENT_CLOSED_REQUEST: Final = 499

_loaded: dict[str, Any] = {}

type Handler = Callable[[Request], Awaitable[Response]]


@frozen
class Route:
    """The handlers of a route.

    Attributes:
        handlers: by HTTP method.
        error_body: how errors look, if not as problem+json.
    """

    handlers: Mapping[str, Handler]
    error_body: ErrorBody = problem_body


# The title of the chat page and its example questions; None: those that are built in.
type PageTexts = tuple[str | None, tuple[str, ...] | None]


async def dispatch(
    name: str,
    request: Request,
    *,
    sign_in_required: bool,
    page_texts: PageTexts = (None, None),
) -> Response:
    """Answer a request; every error becomes an answer too.

    No cache keeps an answer and no browser guesses its type, unless the route says otherwise.

    Args:
        name: of the route.
        request: of the caller.
        sign_in_required: whether callers without a principal are refused.
        page_texts: of the app's owner.
    """
    request.state.sign_in_required, request.state.page_texts = sign_in_required, page_texts
    with invocation():
        response = await _answer(name, request, sign_in_required=sign_in_required)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response


async def _answer(name: str, request: Request, *, sign_in_required: bool) -> Response:
    route: Route | None = None
    try:
        route = (await load(name)).ROUTES[name]
        if sign_in_required and name not in _ANONYMOUS:
            owner_of(request.headers, sign_in=True)
            _refuse_other_sites(request)
        handler = route.handlers.get(request.method)
        if handler is None:
            raise MethodNotAllowedError(f"Use {' or '.join(route.handlers)}.")
        with request_context(request.headers, operation_id(request)):
            return await handler(request)
    except AgentError as error:
        let_go_of_frames(error)
        return _failed(request, route, error)
    except (DisconnectedError, ClientDisconnect):  # while it waited, or while it sent its body
        logger.info("the caller disconnected")
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    except Exception as error:
        logger.error("request failed: %s", frames_of(error))
        log_content("output", str(error))
        return _failed(request, route, AgentError.unexpected())


async def load(name: str) -> Any:
    """The module of a route, imported in a thread if this is the first use."""
    module = _MODULES[name]
    if module not in _loaded:
        _loaded[module] = await asyncio.to_thread(import_module, module)
    return _loaded[module]


def preload(name: str) -> None:
    """Import the module of a route in the background, for the next caller, unless it is there."""
    module = _MODULES[name]
    if module not in sys.modules:
        asyncio.get_running_loop().run_in_executor(None, import_module, module)


def _refuse_other_sites(request: Request) -> None:
    """Refuse what the page of another site made a browser send with its reader's session.

    The platform's cookie is `SameSite=None`, and the platform looks at the origin of what changes
    things; but here a GET asks a question too. A browser sends no token by itself: with one,
    callers may come from anywhere.
    https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site

    Raises:
        CrossSiteRequestError: that is what it is.
    """
    site = request.headers.get("sec-fetch-site", "none")
    if site not in {"same-origin", "none"} and "authorization" not in request.headers:
        raise CrossSiteRequestError("Open the app itself, or send a token.")


def _failed(request: Request, route: Route | None, error: AgentError) -> Response:
    body = (route.error_body if route else problem_body)(request, error)
    # Where clients of OpenAI look for what a problem says too.
    headers = {"x-request-id": operation_id(request)}
    if route and isinstance(error, MethodNotAllowedError):
        headers["Allow"] = ", ".join(route.handlers)
    return error_response(error, body, headers)
