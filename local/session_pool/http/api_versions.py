"""The API versions of the service, in two generations.

Old: the body of an execution is wrapped in `properties`. New: it is flat, and there are paths for
sessions. https://github.com/Azure/azure-rest-api-specs (specification/app/data-plane)
"""

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class ApiVersion:
    """One `api-version`.

    Attributes:
        name: as it stands in the query.
    """

    name: str

    @property
    def is_flat(self) -> bool:
        """Whether it is of the new generation."""
        return self.name >= "2024-10-02-preview"

    @property
    def has_sessions(self) -> bool:
        """Whether it has /session, /listSessions and /metadata."""
        return self.name >= "2025-02-02-preview"

    @property
    def lists_deep(self) -> bool:
        """Whether listings know `recursive` and say each entry's `directory`."""
        return self.name >= "2025-10-02-preview"


_KNOWN = (
    "2024-02-02-preview",
    "2024-08-02-preview",
    "2024-10-02-preview",
    "2025-02-02-preview",
    "2025-10-02-preview",
)
API_VERSIONS = {name: ApiVersion(name) for name in _KNOWN}
