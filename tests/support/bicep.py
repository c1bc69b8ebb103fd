"""The Bicep compiler and the configurations it is run on."""

import re
import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support import PROJECT

INFRA = PROJECT / "infra"
CONFIGURATIONS = sorted((PROJECT / "tests/infra").glob("*.bicepparam"))

# Any subscription and tenant: names and ids in the snapshots are computed from them.
SUBSCRIPTION_ID = "00000000-0000-0000-0000-000000000000"
TENANT_ID = "00000000-0000-0000-0000-000000000001"

# The compiler that wrote the snapshots; another may word them, format or warn otherwise.
VERSION = "0.49.2"

_USING = "using '../../infra/main.bicep'"

type Outcome = subprocess.CompletedProcess[str]

HOW_TO_GET_IT = (
    "the Bicep compiler is not on PATH, in ~/.azure/bin or in ~/.azd/bin: "
    "`az bicep install` or `azd provision` brings it"
)


def find_compiler() -> Path | None:
    """The compiler on PATH, or where Azure CLI and azd keep theirs."""
    places = (None, str(Path.home() / ".azure/bin"), str(Path.home() / ".azd/bin"))
    found = (shutil.which("bicep", path=place) for place in places)
    return next((Path(path) for path in found if path), None)


class Bicep:
    """Runs the compiler, as a user would on the command line."""

    def __init__(self, executable: Path) -> None:
        self._executable = executable

    def run(self, *arguments: str | Path) -> Outcome:
        """Run one command and give what it printed; a failure is the caller's to judge."""
        # Without ICU on the machine .NET does not start otherwise.
        command = ["env", "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1", self._executable, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def version(self) -> str:
        """Which compiler this is, as in `0.49.2`."""
        found = re.search(r"[0-9]+[.][0-9]+[.][0-9]+", self.run("--version").stdout)
        return found[0] if found else "unknown"

    def predict(self, configurations: Iterable[Path]) -> dict[str, Outcome]:
        """Predict the deployment of each configuration; its snapshot is written beside it."""

        def snapshot(configuration: Path) -> Outcome:
            return self.run(
                "snapshot", configuration, "--mode", "overwrite",
                "--subscription-id", SUBSCRIPTION_ID, "--tenant-id", TENANT_ID,
                "--location", "eastus2",
            )  # fmt: skip

        listed = list(configurations)
        with ThreadPoolExecutor(max_workers=2) as pool:
            return {c.stem: r for c, r in zip(listed, pool.map(snapshot, listed), strict=True)}

    def predict_all(self, template: str, folder: Path) -> dict[str, Outcome]:
        """Predict every configuration of this folder, with snapshots in another.

        Args:
            template: main.bicep, compiled: done once, it takes longer than a prediction.
            folder: where the snapshots are written.
        """
        (folder / "main.json").write_text(template)
        for configuration in CONFIGURATIONS:
            text = configuration.read_text().replace(_USING, "using 'main.json'", 1)
            (folder / configuration.name).write_text(text)
        return self.predict(folder / configuration.name for configuration in CONFIGURATIONS)
