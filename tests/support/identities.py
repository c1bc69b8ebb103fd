"""The managed identity of tests that do not care whose tokens they have."""

import functools

from local.managed_identity import ManagedIdentity

# Its key takes longer to make than a pool.
shared_identity = functools.cache(ManagedIdentity)
