"""Where a request comes from, and where a browser may be sent: this origin or another one?"""

from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def own_origin(request: Request) -> str:
    """The origin that the caller knows this app by."""
    return f"{request.scope['scheme']}://{request.headers['host']}"


def is_cross_site(request: Request) -> bool:
    """Whether a page of another origin made the browser send this.

    A browser names the origin of whatever changes things, and says of every request where it comes
    from; who sends neither is not a browser, and nobody else can make it send a cookie.
    https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site
    """
    own = own_origin(request)
    if request.headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
        return True
    if (origin := request.headers.get("origin")) is not None:
        return origin != own
    referrer = request.headers.get("referer")
    if request.method in _SAFE_METHODS or referrer is None:
        return False
    return not f"{referrer}/".startswith(f"{own}/")


def own_address(request: Request, address: str) -> str | None:
    """Return an address of this origin as a path; None if it leads elsewhere or nowhere."""
    own = own_origin(request)
    path = address.removeprefix(own) or "/"
    # Browsers take a backslash for a slash and leave tabs and line ends out.
    if not path.isprintable() or "\\" in path or not path.startswith("/") or path[1:2] == "/":
        return None
    parts = urlsplit(path)
    return None if parts.scheme or parts.netloc else path
