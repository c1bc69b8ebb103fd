"""`/api/ui`: the chat page and its assets, as files that the build made; anybody may read them.

The page holds nothing secret: whoever uses it needs a key or a sign-in for every other route. Its
addresses are few and never change, because infra/ names each to the platform's sign-in; what is in
a file is said by `v` in its query.
"""

import asyncio
import gzip
import hashlib
import json
import re
from functools import cache, lru_cache
from html import escape
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from agent.errors import PageAssetNotFoundError
from agent.frozen import frozen
from agent.http.dispatch import PageTexts, Route

_MEDIA_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
}
_DIST: Final = files("agent.http.page").joinpath("dist")
_INDEX: Final = "index.html"
# Where the page is told what the app's settings make of it.
_FIRST_ELEMENT: Final = '<html lang="en">'
_TITLE: Final = "<title>Code interpreter</title>"

# Text of models, code and files is hostile. Should any of it ever become an element all the same,
# no script but the app's runs, nothing is asked of another origin, and no DOM sink takes a text
# that DOMPurify did not make. https://www.w3.org/TR/CSP3/, https://www.w3.org/TR/trusted-types/
CONTENT_SECURITY_POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types dompurify",
    ]
)
_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Vary": "Accept-Encoding",
}


@frozen
class _Asset:
    """A file of the page.

    Attributes:
        content: as it was built.
        compressed: the same by gzip.
        etag: names this content.
        media_type: by the file's name.
        version: what `v` must be for the file to be kept for ever; none: it is never stored.
    """

    content: bytes
    compressed: bytes
    etag: str
    media_type: str
    version: str | None


async def _page(request: Request) -> Response:
    state = request.state
    return _answer(
        request, await asyncio.to_thread(_index, state.page_texts, sign_in=state.sign_in_required)
    )


async def _asset(request: Request) -> Response:
    asset = (await asyncio.to_thread(_assets)).get(request.path_params["asset"])
    if asset is None:
        raise PageAssetNotFoundError("The page has no such file: load /api/ui again.")
    return _answer(request, asset)


def _answer(request: Request, asset: _Asset) -> Response:
    headers = _HEADERS | {"ETag": asset.etag, "Cache-Control": _cache_control(request, asset)}
    etags = re.findall(r'"[^"]*"', request.headers.get("if-none-match", ""))
    if asset.etag in etags:
        return Response(status_code=304, headers=headers)
    content = asset.content
    if re.search(
        r"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))", request.headers.get("accept-encoding", "")
    ):
        content = asset.compressed
        headers["Content-Encoding"] = "gzip"
    return Response(content, headers=headers, media_type=asset.media_type)


def _cache_control(request: Request, asset: _Asset) -> str:
    if asset.version is None:
        return "no-store"
    if request.query_params.get("v") == asset.version:
        return "public, max-age=31536000, immutable"
    return "no-cache"  # a page of another version asks, or somebody by hand


@cache
def _assets() -> dict[str, _Asset]:
    """All files of the page by name, but for the page itself; read once."""
    return {
        file.name: _asset_of(
            file.read_bytes(), _MEDIA_TYPES[file.name.rpartition(".")[2]], is_versioned=True
        )
        for file in _DIST.iterdir()
        if file.name != _INDEX
    }


@lru_cache(maxsize=4)
def _index(texts: PageTexts, *, sign_in: bool) -> _Asset:
    """The page. Where the platform makes callers sign in it must not ask for a key."""
    title, examples = texts
    attributes = " data-sign-in" if sign_in else ""
    if title is not None:
        attributes += f' data-title="{escape(title)}"'
    if examples is not None:
        attributes += f' data-examples="{escape(json.dumps(examples))}"'
    html = _DIST.joinpath(_INDEX).read_text("utf-8")
    html = html.replace(_FIRST_ELEMENT, f"{_FIRST_ELEMENT[:-1]}{attributes}>", 1)
    if title is not None:
        html = html.replace(_TITLE, f"<title>{escape(title)}</title>", 1)
    return _asset_of(html.encode(), _MEDIA_TYPES["html"], is_versioned=False)


def _asset_of(content: bytes, media_type: str, *, is_versioned: bool) -> _Asset:
    digest = hashlib.sha256(content).hexdigest()
    version = digest[:12] if is_versioned else None  # as page/build.mjs writes it
    return _Asset(content, gzip.compress(content, mtime=0), f'"{digest[:32]}"', media_type, version)


ROUTES: Final = {"page": Route({"GET": _page}), "page_asset": Route({"GET": _asset})}
