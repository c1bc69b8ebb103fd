"""One request that may be served, and what it is served from."""

import urllib.parse
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from local.session_pool.files.session_files import SessionFiles
from local.session_pool.http.api_versions import ApiVersion
from local.session_pool.http.faults import Faults
from local.session_pool.http.identifiers import check_identifier
from local.session_pool.http.metadata import PoolMetadata
from local.session_pool.http.operations import Operations
from local.session_pool.http.wire.flat import FlatWire
from local.session_pool.http.wire.shell import ShellWire
from local.session_pool.http.wire.values import Wire, json_bytes
from local.session_pool.http.wire.wrapped import WrappedWire
from local.session_pool.pool.pool import Pool
from local.session_pool.pool.session import Session


@dataclass(frozen=True)
class Services:
    """The services that every operation uses.

    Attributes:
        base: path of the pool.
        strict: see `PoolOptions`.
        shell: whether it executes shell commands, not Python.
    """

    pool: Pool
    files: SessionFiles
    metadata: PoolMetadata
    faults: Faults
    operations: Operations
    base: str
    strict: bool
    shell: bool


@dataclass(frozen=True)
class Call:
    """One request that may be served.

    Attributes:
        services: what it is served from.
        request: from Starlette; its body is not read yet.
        version: what it asked for.
        path: below the pool's, percent-decoded.
        found: the named parts of `path`.
        received_s: monotonic time of arrival.
    """

    services: Services
    request: Request
    version: ApiVersion
    path: str
    found: dict[str, str]
    received_s: float

    @property
    def wire(self) -> Wire:
        """The shapes of its version."""
        if self.services.shell and self.version.is_flat:
            return ShellWire(self.version, self.services.strict)
        if self.version.is_flat:
            jupyter_format = self.services.faults.jupyter_format
            return FlatWire(self.version, self.services.strict, jupyter_format)
        return WrappedWire()

    def identifier(self) -> str:
        """Return the session's identifier; raises `ValidationFailedError`."""
        identifier = self.request.query_params.get("identifier")
        return check_identifier(identifier, strict=self.services.strict)

    async def allocated_session(self) -> Session:
        """Return the identifier's session, a new one if it has none."""
        return await self.services.pool.allocate(self.identifier())

    def live_session(self) -> Session:
        """Return the identifier's session; raises `SessionNotFoundError`."""
        session = self.services.pool.get(self.identifier())
        session.touch(self.services.pool.now())
        return session

    def url(self, path: str, **query: str | int) -> str:
        """Return an absolute URL of the pool with this call's api-version."""
        encoded = urllib.parse.urlencode({"api-version": self.version.name, **query})
        host = f"{self.request.base_url.scheme}://{self.request.headers['host']}"
        return f"{host}{self.services.base}/{path}?{encoded}"


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with compact JSON."""
    return Response(json_bytes(value), status, headers, "application/json")
