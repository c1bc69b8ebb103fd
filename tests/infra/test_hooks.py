"""The hook of azure.yaml prints what to do next, on Linux and macOS as on Windows."""

import re
import subprocess

import pytest
import yaml

from tests.infra.prediction import PREDICTIONS
from tests.support import PROJECT
from tests.support.bicep import INFRA

FLEX = {
    "API_URL": "https://func-abc.azurewebsites.net",
    "AZURE_FUNCTION_APP_NAME": "func-abc",
    "AZURE_RESOURCE_GROUP": "rg-agent",
    "DEPLOYED_FUNCTION_APP": "func-abc",
}
CONTAINER = {
    "API_URL": "https://ca-abc.example.azurecontainerapps.io",
    "AZURE_CONTAINER_APP_NAME": "ca-abc",
    "AZURE_FUNCTION_APP_NAME": "",
    "AZURE_RESOURCE_GROUP": "rg-agent",
}


def run(environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["/bin/sh", INFRA / "hooks/postup.sh"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            FLEX,
            ("az functionapp keys list --resource-group rg-agent --name func-abc", "x-functions"),
        ),
        (
            CONTAINER,
            ("az containerapp function keys list", "--name ca-abc", "x-functions-key: $key"),
        ),
        (
            FLEX | {"SIGN_IN_CLIENT_ID": "1234"},
            (
                "az account get-access-token --resource api://1234",
                "authorization: Bearer $token",
                f"{FLEX['API_URL']}/.auth/login/aad?post_login_redirect_uri=/api/ui",
            ),
        ),
    ],
    ids=["flex", "container", "sign-in"],
)
def test_it_prints_addresses_and_a_ready_question(
    environment: dict[str, str], expected: tuple[str, ...]
) -> None:
    printed = run(environment)

    assert f"{environment['API_URL']}/api/chat" in printed
    assert "/api/ui\n" in printed
    assert "up to ten minutes" in printed
    for words in expected:
        assert words in printed


def test_its_question_is_a_command_that_a_shell_takes() -> None:
    (command,) = re.findall(r"^  (curl .*)$", run(FLEX), re.MULTILINE)
    script = f"curl() {{ printf '<%s>' \"$@\"; }}; key=secret; {command}"

    printed = subprocess.run(
        ["/bin/sh", "-c", script], capture_output=True, text=True, check=True
    ).stdout

    assert "<x-functions-key: secret>" in printed
    assert "<input=What is the date?>" in printed


def test_without_a_host_it_prints_no_address() -> None:
    printed = run({"API_URL": "", "AZURE_RESOURCE_GROUP": "rg-agent"})

    assert "docs/deploy.md" in printed
    assert "http" not in printed


def test_a_function_app_that_still_runs_is_named() -> None:
    printed = run(CONTAINER | {"DEPLOYED_FUNCTION_APP": "func-before"})

    assert "func-before of an earlier deployment still runs" in printed
    assert "az functionapp delete --resource-group rg-agent --name func-before" in printed
    assert "earlier" not in run(FLEX) + run(CONTAINER)


def test_hook_of_windows_prints_the_same_sentences() -> None:
    def sentences(name: str) -> list[str]:
        text = (INFRA / "hooks" / name).read_text()
        printed = re.findall(r'^ *(?:echo|Write-Output) "(.+)"$', text, re.MULTILINE)
        # Variables, quotes and the output of commands are written differently.
        plain = [re.sub(r"[\\`(){}]|\$env:|\$|\.exe", "", line) for line in printed]
        return [re.sub("(key|token) = ", r"\1=", line) for line in plain]

    assert sentences("postup.ps1") == sentences("postup.sh")
    assert len(sentences("postup.sh")) >= 10


def test_hook_reads_only_outputs_and_options() -> None:
    text = (INFRA / "hooks/postup.sh").read_text()
    read = set(re.findall(r"\$\{?([A-Z_]+)", text))

    assert read - set(PREDICTIONS["default"].outputs) == {"SIGN_IN_CLIENT_ID"}
    assert {"API_URL", "AZURE_RESOURCE_GROUP", "DEPLOYED_FUNCTION_APP"} <= read


def test_azd_runs_both_hooks_where_their_output_stays_on_the_screen() -> None:
    hook = yaml.safe_load((PROJECT / "azure.yaml").read_text())["hooks"]["postup"]

    for system, shell in (("posix", "sh"), ("windows", "pwsh")):
        assert hook[system]["shell"] == shell
        assert hook[system]["interactive"] is True
        assert (PROJECT / hook[system]["run"]).is_file()
