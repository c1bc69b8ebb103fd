"""A user namespace with more than one user, which bubblewrap makes and only root can fill."""

import json
import os
from pathlib import Path


class UserNamespace:
    """What bubblewrap says and waits for at its start.

    Args:
        users: lines of its uid_map and gid_map.
    """

    def __init__(self, users: str) -> None:
        self._users = users
        self._info, said = os.pipe()
        waits, self._go = os.pipe()
        self.given = [said, waits]

    def options(self) -> list[str]:
        """Return bubblewrap's: the program in it may become any of the users."""
        said, waits = map(str, self.given)
        options = ["--info-fd", said, "--userns-block-fd", waits]
        return [*options, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]

    def fill(self) -> None:
        """Give it its users, once bubblewrap runs and has the descriptors in `given`; blocks."""
        while self.given:
            os.close(self.given.pop())
        info = b""
        while part := os.read(self._info, 4096):
            info += part
        if info:  # otherwise it has ended, and says why elsewhere
            process = Path("/proc", str(json.loads(info)["child-pid"]))
            for name in ("uid_map", "gid_map"):
                (process / name).write_text(self._users)
            os.write(self._go, b"1")

    def close(self) -> None:
        """Free the descriptors."""
        for descriptor in (*self.given, self._info, self._go):
            os.close(descriptor)
