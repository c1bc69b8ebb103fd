"""The interface of the token verifier that the pool needs."""

from typing import Protocol

from local.managed_identity import TokenRefusedError


class TokenVerifier(Protocol):
    """Checks the value of an Authorization header."""

    def verify(self, authorization: str | None) -> object:
        """Return the token's claims.

        Raises:
            TokenRefusedError: it does not hold.
        """


__all__ = ["TokenRefusedError", "TokenVerifier"]
