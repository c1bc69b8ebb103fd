"""Access tokens: signed JWTs with the claims of Microsoft Entra ID that the stand-ins look at."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from local.managed_identity.identities import Identity

TENANT_ID = "10ca1000-0000-4000-8000-000000000000"
ISSUER = f"https://sts.windows.net/{TENANT_ID}/"
ALGORITHM = "RS256"
# Azure services forgive clocks that differ by this much.
# https://learn.microsoft.com/entra/identity-platform/access-tokens#validate-tokens
CLOCK_SKEW_S = 300

Clock = Callable[[], float]


def wall_clock() -> float:
    """Seconds since the epoch, the unit of a token's claims."""
    return datetime.now(UTC).timestamp()


class TokenRefusedError(Exception):
    """A request without a token that its service accepts.

    Attributes:
        reason: one sentence for the developer; services answer callers in their own words.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Claims:
    """The claims of a verified token.

    Attributes:
        audience: the resource that it is for, as it was asked for.
        client_id: the identity's application (claim `appid`).
        object_id: the identity's service principal (claim `oid`); roles are assigned to it.
        expires_at: seconds since the epoch.
    """

    audience: str
    client_id: str
    object_id: str
    expires_at: int


class TokenVerifier:
    """Checks tokens for one service: signature, issuer, audience, validity in time."""

    def __init__(
        self, public_key: rsa.RSAPublicKey, audiences: tuple[str, ...], clock: Clock
    ) -> None:
        self._public_key = public_key
        # Entra copies the requested resource into the token; callers differ in the last slash.
        bare = [audience.rstrip("/") for audience in audiences]
        self._audiences = [*bare, *(f"{audience}/" for audience in bare)]
        self._clock = clock
        # Callers keep a token for hours: its signature is checked once, its expiry every time.
        self._signed_claims = lru_cache(maxsize=128)(self._decode)

    @classmethod
    def of_pem(cls, public_key: str, audiences: tuple[str, ...], clock: Clock) -> "TokenVerifier":
        """A verifier of the tokens that an issuer in another process signs."""
        key = serialization.load_pem_public_key(public_key.encode())
        if not isinstance(key, rsa.RSAPublicKey):
            raise ValueError("the issuer's key is not an RSA key")
        return cls(key, audiences, clock)

    def verify(self, authorization: str | None) -> Claims:
        """The claims of the token in an `Authorization` header.

        Raises:
            TokenRefusedError: there is no token, or not one that this service accepts.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise TokenRefusedError("there is no bearer token in the Authorization header")
        claims = self._signed_claims(token)
        now = self._clock()
        if now > int(claims["exp"]):
            raise TokenRefusedError("the token has expired")
        if now < int(claims["nbf"]) - CLOCK_SKEW_S:
            raise TokenRefusedError("the token is not valid yet")
        return Claims(
            audience=claims["aud"],
            client_id=claims["appid"],
            object_id=claims["oid"],
            expires_at=int(claims["exp"]),
        )

    def _decode(self, token: str) -> Mapping[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._public_key,
                algorithms=[ALGORITHM],
                audience=self._audiences,
                issuer=ISSUER,
                # Validity in time is for `verify`, against a clock that tests can turn.
                options={
                    "require": ["aud", "exp", "nbf", "appid", "oid"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidAudienceError as error:
            audiences = " or ".join(self._audiences[: len(self._audiences) // 2])
            raise TokenRefusedError(f"the token is not for {audiences}") from error
        except jwt.InvalidTokenError as error:
            raise TokenRefusedError(f"the token is not valid: {error}") from error
        return claims


class TokenIssuer:
    """Mints tokens with a key that lives as long as the process and is never written down."""

    def __init__(self, clock: Clock) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._key_id = uuid.uuid4().hex
        self._clock = clock

    def mint(self, audience: str, identity: Identity, lifetime_s: int) -> tuple[str, int]:
        """A token and when it expires, in seconds since the epoch; negative lifetimes are past."""
        now = int(self._clock())
        expires_at = now + lifetime_s
        claims = {
            "aud": audience,
            "iss": ISSUER,
            "iat": now,
            "nbf": min(now, expires_at),
            "exp": expires_at,
            "appid": identity.client_id,
            "oid": identity.object_id,
            "sub": identity.object_id,
            "tid": TENANT_ID,
            "idtyp": "app",
            "uti": uuid.uuid4().hex,
            "ver": "1.0",
        }
        token = jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"kid": self._key_id})
        return token, expires_at

    @property
    def public_key(self) -> str:
        """The key that its tokens are checked with, as PEM."""
        encoding, kind = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_key().public_bytes(encoding, kind).decode()

    def verifier(self, audiences: tuple[str, ...]) -> TokenVerifier:
        """Checks the tokens of this issuer for a service that goes by these audiences."""
        return TokenVerifier(self._key.public_key(), audiences, self._clock)
