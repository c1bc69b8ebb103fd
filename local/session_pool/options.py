"""The options of a pool."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from local.session_pool.sandbox.limits import SessionLimits

DEFAULT_SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
PRELOADED = ("numpy", "pandas", "matplotlib.pyplot")


@dataclass(frozen=True)
class PoolOptions:
    """Settings of a `SessionPool`; the defaults are Azure's where Azure has one.

    Attributes:
        subscription: id in the pool's path.
        resource_group: name in the pool's path.
        name: of the pool.
        container_type: what sessions execute: Python, or shell commands.
        max_sessions: how many may be alive at once; one more answers 429.
        cooldown_s: a session that nobody calls for so long ends.
        ready_sessions: how many kernels wait ahead of use.
        strict: follow the service's recorded behaviour where it differs from its documentation, and
            take only what every source agrees on. Otherwise take what any source allows.
        fork_server: use it where it works; False starts every kernel in a bubblewrap of its own.
        control_groups: use them where they can be made; False leaves memory to the watchdog.
        preload: modules that the fork server imports ahead of every session.
        limits: bounds of one session.
        extra_requirements: a requirements file with more packages for the sessions.
        image: a prepared session image; None finds or makes the project's.
        queued_status: stderr of an execution that was queued behind one that timed out.
        log_requests: write a structured line for each request.
        keep_files: a folder that gets each session's files when it ends; None forgets them.
    """

    subscription: str = DEFAULT_SUBSCRIPTION
    resource_group: str = "rg-local"
    name: str = "pool-local"
    container_type: Literal["PythonLTS", "Shell"] = "PythonLTS"
    max_sessions: int = 100
    cooldown_s: int = 300
    ready_sessions: int = 4
    strict: bool = False
    fork_server: bool = True
    control_groups: bool = True
    preload: tuple[str, ...] = PRELOADED
    limits: SessionLimits = field(default_factory=SessionLimits)
    extra_requirements: Path | None = None
    image: Path | None = None
    queued_status: str = "Execution aborted"
    log_requests: bool = False
    keep_files: Path | None = None

    def __post_init__(self) -> None:
        if not 300 <= self.cooldown_s <= 3600:
            raise ValueError("cooldown_s: Azure allows 300 to 3600 seconds")
        if not 1 <= self.max_sessions <= 600:
            raise ValueError("max_sessions: Azure allows 1 to 600 sessions")

    @property
    def path(self) -> str:
        """Path of the pool's management endpoint."""
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"
            f"/sessionPools/{self.name}"
        )
