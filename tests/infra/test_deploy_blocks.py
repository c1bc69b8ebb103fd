"""Each shell block for a deployment runs, against recorded answers of az, azd, func and curl."""

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.open_data.hosts import AllowedHosts
from tests.support import PROJECT

PAGE = (PROJECT / "docs/deploy.md").read_text()
OPEN_DATA = (PROJECT / "docs/open-data.md").read_text()
FAKE = Path(__file__).with_name("commands")
COMMANDS = json.loads((FAKE / "commands.json").read_text())

# Every block with the heading above it, in order.
BLOCKS = [
    (heading, block)
    for heading, text in re.findall(
        r"^##+ ([^\n]+)\n(.*?)(?=^##+ |\Z)", PAGE + OPEN_DATA, re.DOTALL | re.MULTILINE
    )
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
]
# What blocks take from earlier ones of the page; `output` is the page's own function.
(OUTPUT_FUNCTION,) = re.findall(r"^output\(\) \{.*?^\}\n", PAGE, re.DOTALL | re.MULTILINE)
EARLIER = (
    "group=rg-agent app=func-abc url=https://func-abc.azurewebsites.net"
    " client=33333333-3333-3333-3333-333333333333\n" + OUTPUT_FUNCTION
)


@dataclass(frozen=True)
class Ran:
    """How a script ended, and what it called."""

    returncode: int
    stdout: str
    stderr: str
    calls: list[list[str]]


@pytest.fixture
def run(tmp_path: Path) -> "Run":
    return Run(tmp_path)


class Run:
    """Runs scripts with the fakes in place of the real commands."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bin = folder / "bin"
        (folder / ".venv/bin").mkdir(parents=True)
        self._bin.mkdir()
        for name in sorted({command.split()[0] for command in COMMANDS}):
            place = folder / ".venv/bin" if name == "uv" else self._bin
            (place / name).symlink_to(FAKE / "fake.py")

    def __call__(self, script: str) -> Ran:
        calls = self._folder / "calls"
        done = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", script],
            env={"PATH": f"{self._bin}:{os.defpath}", "FAKE_CALLS": str(calls)},
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )
        lines = calls.read_text().splitlines() if calls.exists() else []
        return Ran(done.returncode, done.stdout, done.stderr, [json.loads(line) for line in lines])


@pytest.mark.parametrize(
    ("heading", "block"), BLOCKS, ids=[f"{n} {b[0]}" for n, b in enumerate(BLOCKS)]
)
def test_each_block_runs_to_its_end(run: Run, heading: str, block: str) -> None:
    ran = run(EARLIER + block)

    assert ran.returncode == 0, f"{heading}: {ran.stderr}"
    assert ran.stderr == ""
    assert ran.calls


def test_route_without_azd_finds_outputs_whatever_case_arm_gives_them(run: Run) -> None:
    block = next(b for heading, b in BLOCKS if heading == "With Azure CLI and Core Tools")

    ran = run(block)

    assert "azurE_RESOURCE_GROUP" in (FAKE / "deployment-outputs.json").read_text()
    assert ["func", "azure", "functionapp", "publish", "func-abc", "--python"] in ran.calls
    question = ran.calls[-1]
    assert question[:3] == ["curl", "--get", "https://func-abc.azurewebsites.net/api/chat"]
    assert "x-functions-key: secret" in question


def test_sign_in_is_registered_with_valid_json_and_an_exposed_scope(run: Run) -> None:
    block = next(b for heading, b in BLOCKS if heading == "Callers who sign in")

    calls = run(block).calls

    api, authorized = (
        json.loads(call[call.index("--set") + 1].partition("=")[2])
        for call in calls
        if call[:4] == ["az", "ad", "app", "update"]
    )
    (scope,) = api["oauth2PermissionScopes"]
    assert authorized[0]["delegatedPermissionIds"] == [scope["id"]]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", scope["id"])
    (credential,) = (
        json.loads(call[-1]) for call in calls if call[3:5] == ["federated-credential", "create"]
    )
    assert credential["subject"] == "99999999-9999-9999-9999-999999999999"
    assert [
        "azd",
        "env",
        "set",
        "SIGN_IN_CLIENT_ID",
        "33333333-3333-3333-3333-333333333333",
    ] in calls


def test_hosts_of_open_data_are_those_that_the_tool_takes(run: Run) -> None:
    block = next(b for heading, b in BLOCKS if heading == "Turn it on")

    ((*command, hosts), _) = run(block).calls

    assert command == ["azd", "env", "set", "OPEN_DATA_HOSTS"]
    assert AllowedHosts.parse(hosts).patterns == ("data.example.org", "*.stats.example")


def test_other_settings_are_json_that_azd_hands_on(run: Run) -> None:
    block = next(b for heading, b in BLOCKS if heading == "App settings")

    settings = json.loads(run(block).calls[0][-1])

    assert settings
    assert all(isinstance(value, str) for value in settings.values())


@pytest.mark.parametrize(
    "command",
    [
        "az functionapp keys list --resource-group g --nam x",
        "az functionapp keys list --resource-group g --name ''",
        "azd up --purge",
        "func azure functionapp publish app --pyhton",
        "az nothing",
    ],
)
def test_fakes_refuse_what_the_real_commands_do_not_know(run: Run, command: str) -> None:
    assert run(command).returncode != 0
