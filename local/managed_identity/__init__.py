"""The managed identity endpoint of App Service: where does the app get tokens without a secret?"""

from local.managed_identity.identities import SYSTEM_ASSIGNED, Identity
from local.managed_identity.routes import ManagedIdentity
from local.managed_identity.tokens import (
    Claims,
    Clock,
    TokenRefusedError,
    TokenVerifier,
    wall_clock,
)

__all__ = [
    "SYSTEM_ASSIGNED",
    "Claims",
    "Clock",
    "Identity",
    "ManagedIdentity",
    "TokenRefusedError",
    "TokenVerifier",
    "wall_clock",
]
