"""`/api/ui`: the chat page and its assets, as files that the build made; anybody may read them.

The page holds nothing secret: whoever uses it needs a key or a sign-in for every other route.
"""

import asyncio
import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from agent.errors import PageAssetNotFoundError
from agent.http.dispatch import Route

_MEDIA_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
}
_INDEX: Final = "index.html"

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


@dataclass(frozen=True, slots=True)
class _Asset:
    """A file of the page.

    Attributes:
        content: as it was built.
        compressed: the same by gzip.
        etag: names this content.
        media_type: by the file's name.
        cache_control: the names of assets change with their content, the page's does not.
    """

    content: bytes
    compressed: bytes
    etag: str
    media_type: str
    cache_control: str


async def _page(request: Request) -> Response:
    return await _answer(request, _INDEX)


async def _asset(request: Request) -> Response:
    return await _answer(request, request.path_params["asset"])


async def _answer(request: Request, name: str) -> Response:
    asset = (await asyncio.to_thread(_assets)).get(name)
    if asset is None:
        raise PageAssetNotFoundError("The page has no such file: load /api/ui again.")
    headers = _HEADERS | {"ETag": asset.etag, "Cache-Control": asset.cache_control}
    known = re.findall(r'"[^"]*"', request.headers.get("if-none-match", ""))
    if asset.etag in known:
        return Response(status_code=304, headers=headers)
    content = asset.content
    if re.search(
        r"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))", request.headers.get("accept-encoding", "")
    ):
        content = asset.compressed
        headers["Content-Encoding"] = "gzip"
    return Response(content, headers=headers, media_type=asset.media_type)


@cache
def _assets() -> dict[str, _Asset]:
    """All files of the page by name; read once."""
    found: dict[str, _Asset] = {}
    for file in files("agent.http.page").joinpath("dist").iterdir():
        content = file.read_bytes()
        found[file.name] = _Asset(
            content,
            gzip.compress(content, mtime=0),
            f'"{hashlib.sha256(content).hexdigest()[:32]}"',
            _MEDIA_TYPES[file.name.rpartition(".")[2]],
            "no-store" if file.name == _INDEX else "public, max-age=31536000, immutable",
        )
    return found


ROUTES: Final = {"page": Route({"GET": _page}), "page_asset": Route({"GET": _asset})}
