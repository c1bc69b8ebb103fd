"""The sessions of browsers: a cookie that means nothing to anybody but this process."""

import secrets
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Final

from local.app_service_auth.principals import Principal
from local.managed_identity import Clock

COOKIE: Final = "AppServiceAuthSession"
# https://learn.microsoft.com/azure/app-service/configure-authentication-oauth-tokens
LIFETIME_S: Final = 8 * 3600


@dataclass(frozen=True, slots=True)
class Session:
    """A browser in which somebody signed in.

    Attributes:
        principal: who.
        expires_at: seconds since the epoch.
    """

    principal: Principal
    expires_at: float


class Sessions:
    """All sessions, as long as the process lives."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    def begin(self, principal: Principal) -> str:
        """Sign somebody in; the value is the Set-Cookie header.

        Azure's cookie is `Secure` and `SameSite=None`. This one is for http on loopback, and no
        other site has a reason to send it.
        """
        token = secrets.token_urlsafe(32)
        self._sessions[token] = Session(principal, self._clock() + LIFETIME_S)
        return f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict"

    def find(self, cookies: str) -> Session | None:
        """The session that a Cookie header names, if it is one and lasts."""
        session = self._sessions.get(_token(cookies))
        return session if session is not None and session.expires_at > self._clock() else None

    def end(self, cookies: str) -> str:
        """Sign out; the value is the Set-Cookie header."""
        self._sessions.pop(_token(cookies), None)
        return f"{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"


def _token(cookies: str) -> str:
    try:
        morsel = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value
