"""The track operation of the ingestion endpoint (Breeze), versions 2 and 2.1.

An array of items or one item a line, gzip or plain. A request is answered 200 when all items were
taken and 206 with the numbers of those that were not. As in infra/, local authentication is off: a
key in the connection string admits nobody, a token for Azure Monitor does, of an identity that has
the role.
https://github.com/Azure/azure-rest-api-specs (applicationinsights, Breeze)
"""

import json
import zlib
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.azure_monitor.items import Item, ItemRefusedError, read_item
from local.managed_identity import TokenRefusedError, TokenVerifier

INSTRUMENTATION_KEY: Final = "10ca1000-0000-4000-8000-000000000004"
MAX_BODY_BYTES: Final = 64 * 1024**2
# The oldest are forgotten.
ITEMS_MAX: Final = 10_000
_GZIP_WINDOW_BITS: Final = 31


class _TooLargeError(Exception):
    pass


class AzureMonitor:
    """The ingestion endpoint of one Application Insights resource.

    Args:
        verifier: checks tokens; they must be for Azure Monitor's audience.
        taken: called with the items of each request that were taken.

    Attributes:
        app: the ASGI application; serve it on loopback.
        items: what was taken, in the order in which it came.
    """

    def __init__(
        self, verifier: TokenVerifier, taken: Callable[[Sequence[Item]], None] | None = None
    ) -> None:
        self.items: list[Item] = []
        self._verifier = verifier
        self._taken = taken
        self._refusals: list[tuple[int, int | None]] = []
        self._unwelcome: set[str] = set()
        self._has_role = True
        self.app = Starlette(
            # Connection strings end in a slash, and exporters put another one behind it.
            routes=[
                Route(f"{slashes}{version}/track", self._track, methods=["POST"])
                for slashes in ("/", "//")
                for version in ("v2", "v2.1")
            ]
        )

    def connection_string(self, url: str) -> str:
        """The value of APPLICATIONINSIGHTS_CONNECTION_STRING.

        Args:
            url: where the app is served.
        """
        return f"InstrumentationKey={INSTRUMENTATION_KEY};IngestionEndpoint={url}/"

    def throttle(self, times: int = 1, *, retry_after_s: int | None = None) -> None:
        """Refuse the next requests with 429."""
        self._refusals += [(429, retry_after_s)] * times

    def fail(self, times: int = 1, *, status: int = 500) -> None:
        """Refuse the next requests with another status, as 402 and 439 where a quota is used up."""
        self._refusals += [(status, None)] * times

    def revoke_role(self) -> None:
        """403 until `grant_role`."""
        self._has_role = False

    def grant_role(self) -> None:
        """Undo `revoke_role`."""
        self._has_role = True

    def refuse_items(self, name: str) -> None:
        """Take requests but not the items of this name: partial success."""
        self._unwelcome.add(name)

    async def _track(self, request: Request) -> Response:
        if self._refusals:
            status, retry_after_s = self._refusals.pop(0)
            headers = {} if retry_after_s is None else {"retry-after": str(retry_after_s)}
            return _answer(0, [], status, headers)
        try:
            self._verifier.verify(request.headers.get("authorization"))
        except TokenRefusedError:
            return _answer(0, [], 401, {"www-authenticate": "Bearer"})
        if not self._has_role:
            return _answer(0, [], 403)
        try:
            sent = _items_of(await _body(request), request.headers.get("content-encoding", ""))
        except _TooLargeError:
            return _answer(0, [], 413)
        except (ValueError, RecursionError) as error:
            return _answer(0, [{"index": 0, "statusCode": 400, "message": str(error)}], 400)
        taken, errors = [], []
        for index, raw in enumerate(sent):
            try:
                item = read_item(raw, INSTRUMENTATION_KEY)
                if item.name in self._unwelcome:
                    raise ItemRefusedError(400, "The item was refused on demand")
                taken.append(item)
            except ItemRefusedError as error:
                errors.append({"index": index, "statusCode": error.status, "message": str(error)})
        self.items = [*self.items, *taken][-ITEMS_MAX:]
        if taken and self._taken:
            self._taken(taken)
        status = 206 if errors and taken else 400 if errors else 200
        return _answer(len(sent), errors, status)


async def _body(request: Request) -> bytes:
    """Raises _TooLargeError."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise _TooLargeError
    return bytes(body)


def _items_of(body: bytes, encoding: str) -> list[object]:
    """Raises ValueError where the body holds no items, RecursionError where they are too deep."""
    if encoding.lower() == "gzip":
        body = _decompressed(body)
    elif encoding.lower() not in ("", "identity"):
        raise ValueError(f"the content encoding {encoding} is not supported")
    if body.lstrip().startswith(b"["):
        items: list[object] = json.loads(body, parse_constant=_refuse_constant)
        return items
    lines = [line for line in body.splitlines() if line.strip()]
    if not lines:
        raise ValueError("the body is empty")
    return [json.loads(line, parse_constant=_refuse_constant) for line in lines]


def _decompressed(body: bytes) -> bytes:
    """Of gzip, no more of it than a body may have; raises _TooLargeError."""
    stream = zlib.decompressobj(_GZIP_WINDOW_BITS)
    try:
        plain = stream.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error as error:
        raise ValueError("the body is not gzip") from error
    if len(plain) > MAX_BODY_BYTES:
        raise _TooLargeError
    if not stream.eof:
        raise ValueError("the body ends in the middle")
    return plain


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _answer(
    received: int,
    errors: list[dict[str, object]],
    status: int,
    headers: dict[str, str] | None = None,
) -> Response:
    accepted = max(0, received - len(errors))
    body = {"itemsReceived": received, "itemsAccepted": accepted, "errors": errors}
    return JSONResponse(body, status_code=status, headers=headers)
