"""Who can call, and the words in which the app is told: claims and X-MS-CLIENT-PRINCIPAL headers.

https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities
"""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from local import defaults
from local.managed_identity import Claims

PROVIDER: Final = "aad"
_SCHEMAS = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims"
_NAME_TYPE = f"{_SCHEMAS}/emailaddress"
_ROLE_TYPE = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"
_OBJECT_ID_TYPE = "http://schemas.microsoft.com/identity/claims/objectidentifier"

type RawHeader = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whom Microsoft Entra ID vouches for.

    Attributes:
        object_id: in the directory; the same person has the same one, whatever they come with.
        user_name: what they sign in with; None for an app.
        claims: of their token, by type.
    """

    object_id: str
    user_name: str | None
    claims: Sequence[tuple[str, str]]

    @classmethod
    def of_person(cls, object_id: str, user_name: str, name: str) -> "Principal":
        """Somebody who signs in with a browser."""
        claims = [
            ("aud", defaults.SIGN_IN_CLIENT_ID),
            (_OBJECT_ID_TYPE, object_id),
            ("name", name),
            ("preferred_username", user_name),
            (f"{_SCHEMAS}/nameidentifier", object_id),
        ]
        return cls(object_id, user_name, claims)

    @classmethod
    def of_token(cls, token: Claims) -> "Principal":
        """An app, or a script that runs as one."""
        claims = [
            ("aud", token.audience),
            ("appid", token.client_id),
            (_OBJECT_ID_TYPE, token.object_id),
        ]
        return cls(token.object_id, None, claims)

    @property
    def name(self) -> str:
        """What others call them."""
        return dict(self.claims).get("name", self.object_id)

    def headers(self) -> Iterator[RawHeader]:
        """What the platform adds to the request that the app gets."""
        yield b"x-ms-client-principal-idp", PROVIDER.encode()
        yield b"x-ms-client-principal-id", self.object_id.encode()
        if self.user_name is not None:
            yield b"x-ms-client-principal-name", self.user_name.encode()
        principal = {
            "auth_typ": PROVIDER,
            "claims": self._claims(),
            "name_typ": _NAME_TYPE,
            "role_typ": _ROLE_TYPE,
        }
        yield b"x-ms-client-principal", base64.b64encode(json.dumps(principal).encode())

    def me(self) -> dict[str, object]:
        """Describe the principal as an entry of /.auth/me does, without the provider's tokens."""
        return {
            "provider_name": PROVIDER,
            "user_id": self.user_name or self.object_id,
            "user_claims": self._claims(),
        }

    def _claims(self) -> list[dict[str, str]]:
        return [{"typ": kind, "val": value} for kind, value in self.claims]


# By the name that they sign in with.
PEOPLE: Final = {
    str(person.user_name): person
    for person in (
        Principal.of_person(
            "5d0c1d6a-0000-4000-8000-0000000000a1", "ada@example.com", "Ada Lovelace"
        ),
        Principal.of_person(
            "5d0c1d6a-0000-4000-8000-0000000000a2", "charles@example.com", "Charles Babbage"
        ),
    )
}
