"""GET /msi/token: the token endpoint that App Service puts beside every app.

https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
"""

import hmac
import secrets
from collections.abc import Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from local import defaults
from local.managed_identity.errors import IdentityError, identity_error_response
from local.managed_identity.identities import (
    SELECTORS,
    SYSTEM_ASSIGNED,
    AssignedIdentities,
    Identity,
)
from local.managed_identity.tokens import Clock, TokenIssuer, TokenVerifier, wall_clock

API_VERSION: Final = "2019-08-01"
TOKEN_PATH: Final = "/msi/token"  # noqa: S105 - where App Service has tokens fetched: the word is in the name alone
# What App Service issues for managed identities: a day.
LIFETIME_S: Final = 86_400
RESOURCES: Final = (
    defaults.AZURE_OPENAI_AUDIENCE,
    *defaults.SESSION_POOL_AUDIENCES,
    defaults.AZURE_MONITOR_AUDIENCE,
    defaults.STORAGE_AUDIENCE,
    defaults.SIGN_IN_AUDIENCE,
)
_PARAMETERS = frozenset({"api-version", "resource", *SELECTORS})


class ManagedIdentity:
    """App Service's managed identity endpoint and the tokens it hands out.

    Args:
        system_assigned: the identity used when a request names none; None switches it off.
        user_assigned: identities that requests may name.
        resources: the audiences that tokens are issued for.
        lifetime_s: how long a token is valid.
        clock: seconds since the epoch, for minting and verifying.

    Attributes:
        app: the ASGI application; serve it on loopback.
        path: where in it the token endpoint is; `IDENTITY_ENDPOINT` is base URL + path.
        identity_header: the secret a caller must send; the value of `IDENTITY_HEADER`.
    """

    def __init__(
        self,
        *,
        system_assigned: Identity | None = SYSTEM_ASSIGNED,
        user_assigned: Sequence[Identity] = (),
        resources: Sequence[str] = RESOURCES,
        lifetime_s: int = LIFETIME_S,
        clock: Clock = wall_clock,
    ) -> None:
        self.path = TOKEN_PATH
        self.identity_header = secrets.token_hex(16)
        self._identities = AssignedIdentities(system_assigned, tuple(user_assigned))
        self._resources = frozenset(resource.rstrip("/") for resource in resources)
        self._lifetime_s = lifetime_s
        self._issuer = TokenIssuer(clock)
        self.app = Starlette(
            routes=[Route(TOKEN_PATH, self._token, methods=["GET"])],
            exception_handlers={IdentityError: identity_error_response},
        )

    @property
    def public_key(self) -> str:
        """The public key for services in other processes to check tokens with, as PEM."""
        return self._issuer.public_key

    def verifier(self, *audiences: str) -> TokenVerifier:
        """A verifier for a service's callers; the service may have several audiences."""
        return self._issuer.verifier(audiences)

    def mint(
        self,
        audience: str,
        *,
        lifetime_s: int = LIFETIME_S,
        identity: Identity = SYSTEM_ASSIGNED,
    ) -> str:
        """A token without asking the endpoint: for any audience, expired when negative."""
        return self._issuer.mint(audience, identity, lifetime_s)[0]

    async def _token(self, request: Request) -> JSONResponse:
        self._check_header(request)
        query = request.query_params
        _check_query(query)
        resource = query["resource"]
        if resource.rstrip("/") not in self._resources:
            # App Service passes on that Entra knows no such resource as a 500 of its own.
            raise IdentityError(
                500,
                f"There is no resource {resource!r} in the tenant. This endpoint issues tokens"
                f" for {', '.join(sorted(self._resources))}.",
            )
        identity = self._identities.choose(query)
        token, expires_at = self._issuer.mint(resource, identity, self._lifetime_s)
        return JSONResponse(
            {
                "access_token": token,
                "client_id": identity.client_id,
                "expires_on": str(expires_at),
                "resource": resource,
                "token_type": "Bearer",
            },
            headers={"cache-control": "no-store"},
        )

    def _check_header(self, request: Request) -> None:
        header = request.headers.get("x-identity-header", "")
        if not hmac.compare_digest(header.encode(), self.identity_header.encode()):
            raise IdentityError(
                401, "X-IDENTITY-HEADER is missing or is not the value of IDENTITY_HEADER."
            )


def _check_query(query: QueryParams) -> None:
    unknown = sorted(set(query) - _PARAMETERS)
    repeated = sorted({name for name in query if len(query.getlist(name)) > 1})
    if unknown or repeated:
        raise IdentityError(
            400, f"Parameters not known or repeated: {', '.join(unknown + repeated)}."
        )
    if query.get("api-version") != API_VERSION:
        raise IdentityError(
            400,
            f"The api-version {query.get('api-version')!r} is not supported; use {API_VERSION}.",
        )
    if not query.get("resource"):
        raise IdentityError(400, "The parameter 'resource' is missing.")
