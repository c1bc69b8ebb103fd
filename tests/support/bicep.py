"""The Bicep compiler and the configurations it is run on."""

import contextlib
import http.client
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

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
type Ask = Callable[..., dict[str, Any]]

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
        command = self._command(*arguments)
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def _command(self, *arguments: str | Path) -> list[str | Path]:
        settings = [
            "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1",  # without ICU .NET does not start otherwise
            "DOTNET_TieredPGO=0",  # measures itself to run faster later: a sixth of a short run
        ]
        return ["env", *settings, self._executable, *arguments]

    def version(self) -> str:
        """Which compiler this is, as in `0.49.2`."""
        found = re.search(r"[0-9]+[.][0-9]+[.][0-9]+", self.run("--version").stdout)
        return found[0] if found else "unknown"

    def predict(self, configurations: Iterable[Path]) -> dict[str, Outcome]:
        """Predict the deployment of each configuration; its snapshot is written beside it.

        The words of `bicep snapshot`, from one process: to start it takes longer than a prediction.
        """
        with self._answering() as ask:
            return {c.stem: _predict(ask, c) for c in configurations}

    @contextlib.contextmanager
    def _answering(self) -> Iterator[Ask]:
        """A compiler that answers JSON-RPC: the method, its parameters; the whole reply.

        https://learn.microsoft.com/azure/azure-resource-manager/bicep/bicep-cli#jsonrpc
        """
        pipe = subprocess.PIPE
        with subprocess.Popen(self._command("jsonrpc", "--stdio"), stdin=pipe, stdout=pipe) as rpc:
            assert rpc.stdin is not None
            assert rpc.stdout is not None
            to_it, from_it = rpc.stdin, rpc.stdout

            def ask(method: str, **parameters: object) -> dict[str, Any]:
                call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
                body = json.dumps(call).encode()
                to_it.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
                to_it.flush()
                head = http.client.parse_headers(from_it)
                reply: dict[str, Any] = json.loads(from_it.read(int(head["Content-Length"])))
                return reply

            yield ask

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


def _predict(ask: Ask, configuration: Path) -> Outcome:
    path = str(configuration)
    metadata = {
        "subscriptionId": SUBSCRIPTION_ID,
        "tenantId": TENANT_ID,
        "location": "eastus2",
        "resourceGroup": None,
        "deploymentName": None,
    }
    reply = ask("bicep/getSnapshot", path=path, metadata=metadata, externalInputs=None)
    if "result" in reply:
        configuration.with_suffix(".snapshot.json").write_text(reply["result"]["snapshot"])
        return subprocess.CompletedProcess(path, 0, "", "")
    words, failure = reply["error"]["message"], reply["error"]["data"]
    if words == "Compilation failed":
        compiled = ask("bicep/compileParams", path=path, parameterOverrides={})
        words = "\n".join(each["message"] for each in compiled["result"]["diagnostics"])
    elif not failure["type"].endswith(".TemplateValidationException"):
        words += f"\n{failure['stack']}"  # the compiler's own failure, not its judgement
    return subprocess.CompletedProcess(path, 1, words, "")
