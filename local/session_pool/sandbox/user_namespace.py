"""A user namespace with more than one user, which bubblewrap makes and only root can fill."""

import os
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class UserNamespace:
    """What bubblewrap says and waits for at its start; `launcher.main` does the rest.

    Attributes:
        users: lines of its uid_map and gid_map.
        ends: two pipes: where one reads what bubblewrap says, and where that writes it; where
            bubblewrap waits, and where one lets it go on.
    """

    users: str
    ends: tuple[int, int, int, int]

    @classmethod
    def of(cls, users: str) -> "UserNamespace":
        """Open the pipes."""
        info, said = os.pipe()
        try:
            return cls(users, (info, said, *os.pipe()))
        except OSError:
            os.close(info)
            os.close(said)
            raise

    def options(self) -> list[str]:
        """Return bubblewrap's: the program in it may become any of the users."""
        _, said, waits, _ = map(str, self.ends)
        options = ["--info-fd", said, "--userns-block-fd", waits]
        return [*options, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]

    def step(self) -> dict[str, Any]:
        """Return what `launcher.main` has to know."""
        return {"map": self.users, "ends": self.ends}

    def close(self) -> None:
        """Free the descriptors: the process has its own."""
        for descriptor in self.ends:
            os.close(descriptor)
