"""The owner of a conversation, and the identifier of the owner's session in the pool.

With App Service Authentication the platform sets X-MS-CLIENT-PRINCIPAL-ID and -IDP and strips what
a caller sent under these names. Without it nobody does: they are the caller's words and count for
nothing. https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import field

from agent.errors import SignInRequiredError
from agent.frozen import frozen

KEY_BYTES = 32


@frozen
class Owner:
    """Somebody to whom conversations belong.

    Attributes:
        identity_provider: who vouches for them, for example `aad`; empty for the anonymous owner.
        principal_id: what they are called there; a person's, so it is not shown in logs.
    """

    identity_provider: str
    principal_id: str = field(repr=False)

    @property
    def is_anonymous(self) -> bool:
        """Whether callers do not sign in, so that this one stands for them all."""
        # Asked three times a turn; to compare two owners takes twenty times as much.
        return not (self.identity_provider or self.principal_id)

    @property
    def folder(self) -> str:
        """A name for the store: the same for the same owner, `[a-z0-9]`, at most 32 characters."""
        if self.is_anonymous:
            return "anonymous"
        # Two ids of one spelling, vouched for by two providers, are two people. 32 hexadecimal
        # digits cannot spell "anonymous".
        name = json.dumps([self.identity_provider, self.principal_id])
        return hashlib.sha256(name.encode()).hexdigest()[:32]


ANONYMOUS = Owner("", "")


@frozen
class IdentifierKey:
    """The key of the hash that makes pool identifiers; kept in the store, never in a setting."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"the key has {len(self.secret)} bytes instead of {KEY_BYTES}")


def owner_of(headers: Mapping[str, str], *, sign_in: bool) -> Owner:
    """The owner of what this request makes and asks for.

    Args:
        headers: of the request, found whatever their case, as starlette's are.
        sign_in: App Service Authentication is on (its own setting, WEBSITE_AUTH_ENABLED, is true).

    Raises:
        SignInRequiredError: it is on and lets callers through who have not signed in.
    """
    if not sign_in:
        return ANONYMOUS
    principal_id = headers.get("x-ms-client-principal-id", "")
    identity_provider = headers.get("x-ms-client-principal-idp", "")
    if not principal_id or not identity_provider:
        raise SignInRequiredError("Sign in: a conversation belongs to the user who started it.")
    return Owner(identity_provider, principal_id)


def pool_identifier(key: IdentifierKey, owner: Owner, conversation_id: str) -> str:
    """The identifier of the conversation's session: 64 characters `[0-9a-f]`.

    Whoever knows it and may call the pool can enter the session. So it cannot be computed from what
    callers see, is never returned to them and never logged. Another owner's conversation id gives
    another identifier.
    """
    message = f"{owner.folder}/{conversation_id}".encode()
    return hmac.new(key.secret, message, hashlib.sha256).hexdigest()
