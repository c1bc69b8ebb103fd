"""What stands in front of the app: it signs browsers in and out, and refuses strangers.

The settings are those of infra/: `Return401`, one provider, these paths open. A path is compared as
it is written, in upper or lower case.
https://learn.microsoft.com/azure/app-service/configure-authentication-customize-sign-in-out
"""

from typing import Final
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from local import defaults
from local.app_service_auth import pages
from local.app_service_auth.origins import is_cross_site, own_address, own_origin
from local.app_service_auth.principals import PEOPLE, Principal
from local.app_service_auth.sessions import Sessions
from local.managed_identity import Clock, TokenRefusedError, TokenVerifier, wall_clock

# `globalValidation.excludedPaths` of infra/: a probe cannot sign in, and the chat page is where
# people do. A test compares them.
EXCLUDED_PATHS: Final = frozenset(
    {"/api/health/live", "/api/ui", "/api/ui/app.js", "/api/ui/style.css"}
)
AUDIENCES: Final = (defaults.SIGN_IN_CLIENT_ID, defaults.SIGN_IN_AUDIENCE)
_LOGIN: Final = "/.auth/login/aad"
_MAX_FORM_BYTES: Final = 16_384


class AppServiceAuth:
    """ASGI middleware around the whole of a function app.

    Args:
        app: what only known callers reach.
        public_key: of the identity that issues tokens, as PEM; without it no token is accepted,
            and browsers alone can sign in.
        clock: seconds since the epoch.
    """

    def __init__(
        self, app: ASGIApp, *, public_key: str | None = None, clock: Clock = wall_clock
    ) -> None:
        self._app = app
        self._sessions = Sessions(clock)
        self._tokens = None
        if public_key is not None:
            self._tokens = TokenVerifier.of_pem(public_key, AUDIENCES, clock)
        self._own = Starlette(
            routes=[
                Route(_LOGIN, self._ask_who, methods=["GET"]),
                Route(f"{_LOGIN}/callback", self._sign_in, methods=["POST"]),
                Route("/.auth/me", self._me, methods=["GET"]),
                Route("/.auth/logout", self._sign_out, methods=["GET"]),
                Route("/.auth/login/done", _done, methods=["GET"]),
                Route("/.auth/logout/done", _done, methods=["GET"]),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for itself below /.auth; hand on what a known caller asks of the app."""
        request = Request(scope)
        path = scope["raw_path"].decode("latin-1").lower()
        if path == "/.auth" or path.startswith("/.auth/"):
            await self._own(scope, receive, send)
            return
        caller = self._caller(request)
        if isinstance(caller, Response) and path not in EXCLUDED_PATHS:
            await caller(scope, receive, send)
            return
        # These names are the platform's to give.
        headers = [header for header in scope["headers"] if not header[0].startswith(b"x-ms-")]
        if isinstance(caller, Principal):
            headers += caller.headers()
        await self._app({**scope, "headers": headers}, receive, send)

    def _caller(self, request: Request) -> Principal | Response:
        """Who is calling, or the answer to somebody who may not."""
        authorization = request.headers.get("authorization", "")
        if authorization[:7].lower() == "bearer ":
            if self._tokens is None:
                return _unauthorized(request)
            try:
                return Principal.of_token(self._tokens.verify(authorization))
            except TokenRefusedError:
                return _unauthorized(request)
        session = self._sessions.find(request.headers.get("cookie", ""))
        if session is None:
            return _unauthorized(request)
        if is_cross_site(request):
            return _cross_site()
        return session.principal

    async def _ask_who(self, request: Request) -> Response:
        target = _target(request, request.query_params.get("post_login_redirect_uri"))
        if isinstance(target, Response):
            return target
        return pages.choice_of(PEOPLE.values(), f"{_LOGIN}/callback", target)

    async def _sign_in(self, request: Request) -> Response:
        # Otherwise another site could sign its visitors in as somebody whom it reads.
        if is_cross_site(request):
            return _cross_site()
        form = await _form(request)
        principal = PEOPLE.get(form.get("user", ""))
        target = _target(request, form.get("post_login_redirect_uri"))
        if isinstance(target, Response):
            return target
        if principal is None:
            return pages.message("Not known", "Nobody of that name can sign in here.", 400)
        response = RedirectResponse(target, 303)
        response.headers["set-cookie"] = self._sessions.begin(principal)
        return response

    async def _sign_out(self, request: Request) -> Response:
        if is_cross_site(request):
            return _cross_site()
        address = request.query_params.get("post_logout_redirect_uri", "/.auth/logout/done")
        target = _target(request, address)
        response = target if isinstance(target, Response) else RedirectResponse(target, 302)
        response.headers["set-cookie"] = self._sessions.end(request.headers.get("cookie", ""))
        return response

    async def _me(self, request: Request) -> Response:
        """Tell who signed in; Azure does where its token store is on, which infra/ leaves off."""
        session = self._sessions.find(request.headers.get("cookie", ""))
        if session is None:
            return _unauthorized(request)
        if is_cross_site(request):
            return _cross_site()
        return JSONResponse([session.principal.me()], headers={"cache-control": "no-store"})


async def _done(request: Request) -> Response:
    out = request.url.path == "/.auth/logout/done"
    return pages.message("Done", f"You have signed {'out' if out else 'in'}.")


def _target(request: Request, address: str | None) -> str | Response:
    """Where a browser goes next, or the answer to somebody who would send it away from here."""
    path = own_address(request, "/.auth/login/done" if address is None else address)
    if path is None:
        return pages.message("Not allowed", "The address to go on to is not one of this app.", 400)
    return path


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM_BYTES:
            return {}
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[-1] for name, values in fields.items()}


def _unauthorized(request: Request) -> Response:
    challenge = f'Bearer realm="{request.headers["host"]}" resource_id="{AUDIENCES[0]}"'
    text = f"Sign in at {own_origin(request)}{_LOGIN}, or send a token.\n"
    return PlainTextResponse(text, 401, {"WWW-Authenticate": challenge})


def _cross_site() -> Response:
    return PlainTextResponse("Another site may not use this sign-in.\n", 403)
