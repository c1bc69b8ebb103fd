"""The app's identities: one assigned by the system, any number assigned by the user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from local.managed_identity.errors import IdentityError

# How a caller may name a user-assigned identity; `principal_id` is another word for `object_id`.
# https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
SELECTORS = ("client_id", "mi_res_id", "object_id", "principal_id")


@dataclass(frozen=True)
class Identity:
    """A managed identity as Microsoft Entra ID knows it.

    Attributes:
        client_id: a GUID, the application; `AZURE_CLIENT_ID` names it.
        object_id: a GUID, the service principal; role assignments name it.
        resource_id: path of the Azure resource; None for a system-assigned identity.
    """

    client_id: str
    object_id: str
    resource_id: str | None = None

    def is_named(self, selector: str, value: str) -> bool:
        """Whether `selector=value` in a token request means this identity; case is ignored."""
        names = {
            "client_id": self.client_id,
            "mi_res_id": self.resource_id,
            "object_id": self.object_id,
            "principal_id": self.object_id,
        }
        name = names[selector]
        return name is not None and name.lower() == value.lower()


SYSTEM_ASSIGNED = Identity(
    client_id="5d0c1d6a-0000-4000-8000-000000000001",
    object_id="5d0c1d6a-0000-4000-8000-000000000002",
)


@dataclass(frozen=True)
class AssignedIdentities:
    """The identities of one app.

    Attributes:
        system_assigned: used when a request names none; None when it is switched off.
        user_assigned: used when a request names one of them.
    """

    system_assigned: Identity | None
    user_assigned: Sequence[Identity]

    def choose(self, query: Mapping[str, str]) -> Identity:
        """The identity that the query of a token request means.

        Raises:
            IdentityError: the query names an identity the app does not have, or more than one.
        """
        selectors = [(selector, query[selector]) for selector in SELECTORS if selector in query]
        if len(selectors) > 1:
            raise IdentityError(400, f"Name one identity by one of {', '.join(SELECTORS)}.")
        if selectors:
            for identity in self.user_assigned:
                if identity.is_named(*selectors[0]):
                    return identity
        elif self.system_assigned is not None:
            return self.system_assigned
        raise IdentityError(
            400,
            "No User Assigned or Delegated Managed Identity found for specified"
            " ClientId/ResourceId/PrincipalId.",
        )
