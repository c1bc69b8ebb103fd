"""The pool's metadata."""

import importlib.metadata
import platform
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from local.session_pool.http.wire.values import timestamp


@dataclass(frozen=True)
class PoolMetadata:
    """Answer of GET /metadata.

    Attributes:
        image: the session image.
        kernels: which way kernels are started.
        created_at: when the pool started.
    """

    image: Path
    kernels: str
    created_at: datetime

    def describe(self) -> dict[str, Any]:
        """Return it in the service's shape."""
        packages = self._packages()
        return {
            "runtimes": [{"name": "python", "version": platform.python_version()}],
            "preInstalledPackages": [
                {"name": name, "version": version} for name, version in sorted(packages.items())
            ],
            "createdAt": timestamp(self.created_at),
            "lastUpdatedAt": timestamp(self.created_at),
            "jupyterKernel": {
                "name": "IPython",
                "version": packages.get("ipython", ""),
                "projectUrl": "https://ipython.org",
                "description": f"local emulator, kernels: {self.kernels}",
            },
        }

    def _packages(self) -> dict[str, str]:
        found = importlib.metadata.distributions(path=[str(self.image / "packages")])
        return {each.metadata["Name"]: each.version for each in found}
