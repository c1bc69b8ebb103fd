"""The sources of kernels: the fork server, or a bubblewrap of its own for each."""

from typing import Protocol

from local.session_pool.sandbox.kernel_process import KernelProcess


class KernelSource(Protocol):
    """Starts kernels in sandboxes.

    Attributes:
        name: how the start line and `metadata` call it.
    """

    name: str

    async def start(self) -> None:
        """Get ready; raises `KernelStartError`."""

    async def spawn(self) -> KernelProcess:
        """Return a kernel that is ready for code; raises `KernelStartError`."""

    async def close(self) -> None:
        """Free everything. Kernels are killed before."""
