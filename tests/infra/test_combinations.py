"""Odd combinations of parameters: what fits is deployed, the others are refused with a sentence."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.infra.prediction import Prediction, read_prediction
from tests.support.bicep import Bicep, Outcome

type Parameters = Mapping[str, str | bool | dict[str, str]]

ACCOUNT = (
    "/subscriptions/55555555-5555-5555-5555-555555555555/resourceGroups/rg-models"
    "/providers/Microsoft.CognitiveServices/accounts/shared-models"
)
ID = "33333333-3333-3333-3333-333333333333"
BOTH_HOSTS: Parameters = {"flexHost": True, "containerHost": True, "privateNetworking": True}

ACCEPTED: dict[str, Parameters] = {
    "64 characters": {"environmentName": "e" * 64, **BOTH_HOSTS},
    "upper case": {"environmentName": "My-Agent_(Test)", **BOTH_HOSTS},
    "both hosts, network, sign-in, foreign account": {
        **BOTH_HOSTS,
        "signInClientId": ID,
        "signInAllowedGroups": f" {ID} , ",
        "existingOpenAiId": ACCOUNT,
    },
    "an id in other case": {
        "existingOpenAiId": ACCOUNT.replace("resourceGroups", "resourcegroups").upper()
    },
    "private again, a model that reads text alone": {
        "privateNetworking": True,
        "deployedNetworking": "private",
        "modelName": "gpt-oss-120b",
    },
    "no host any more": {"flexHost": False, "deployedFunctionApp": "func-before"},
}
REFUSED: dict[str, tuple[Parameters, tuple[str, ...]]] = {
    "a name that ends in a dot": ({"environmentName": "agent."}, ("AZURE_ENV_NAME", "dot")),
    "a name with a space": ({"environmentName": "my agent"}, ("AZURE_ENV_NAME", "space")),
    "an account's name": (
        {"existingOpenAiId": "shared-models"},
        ("EXISTING_OPENAI_ID", "--query id"),
    ),
    "a deployment's id": (
        {"existingOpenAiId": f"{ACCOUNT}/deployments/chat"},
        ("EXISTING_OPENAI_ID", "resource id"),
    ),
    "an id of something else": (
        {"existingOpenAiId": ACCOUNT.replace("CognitiveServices", "Storage")},
        ("EXISTING_OPENAI_ID", "resource id"),
    ),
    "a network afterwards": (
        {"privateNetworking": True, "deployedNetworking": "public"},
        ("PRIVATE_NETWORKING", "is public", "azd env new"),
    ),
    "users without a sign-in": ({"signInAllowedUsers": ID}, ("SIGN_IN_CLIENT_ID",)),
    "a user's name": (
        {"signInClientId": ID, "signInAllowedUsers": "ada@example.com"},
        ("SIGN_IN_ALLOWED_USERS", "object ids", "not names"),
    ),
    "an app's name": ({"signInClientId": "agent"}, ("SIGN_IN_CLIENT_ID", "client id")),
    "a setting of the template": (
        {"appSettings": {"sign_in_required": "false"}},
        ("APP_SETTINGS", "sign_in_required"),
    ),
    "a setting with an option": (
        {"appSettings": {"TOOL_ROUNDS": "2", "LOG_CONTENT": "true"}},
        ("APP_SETTINGS", "LOG_CONTENT", "TOOL_ROUNDS"),
    ),
    "a region without pools": (
        {"location": "southcentralus"},
        ("Expected a value of type", "swedencentral"),
    ),
}


@pytest.fixture(scope="session")
def folder(template: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the compiled template and the configurations are."""
    folder = tmp_path_factory.mktemp("combinations")
    (folder / "main.json").write_text(json.dumps(template))
    return folder


@pytest.fixture(scope="session")
def outcomes(bicep: Bicep, folder: Path) -> dict[str, Outcome]:
    """What the compiler says of each configuration; snapshots are in `folder`."""
    cases = ACCEPTED | {name: parameters for name, (parameters, _) in REFUSED.items()}
    for name, parameters in cases.items():
        values = {"environmentName": "odd", "location": "eastus2"} | dict(parameters)
        lines = [f"param {key} = {_literal(value)}" for key, value in values.items()]
        (folder / f"{name}.bicepparam").write_text("\n".join(["using 'main.json'", *lines]))
    return bicep.predict(folder / f"{name}.bicepparam" for name in cases)


def _literal(value: str | bool | dict[str, str]) -> str:
    if isinstance(value, dict):
        return "{\n" + "\n".join(f"  {key}: '{text}'" for key, text in value.items()) + "\n}"
    return str(value).lower() if isinstance(value, bool) else f"'{value}'"


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_with_what_to_do(
    outcomes: dict[str, Outcome], name: str
) -> None:
    outcome = outcomes[name]
    output = outcome.stdout + outcome.stderr

    assert outcome.returncode != 0
    for words in REFUSED[name][1]:
        assert words in output
    assert "   at " not in output, "a stack trace"


@pytest.fixture(params=ACCEPTED)
def accepted(
    request: pytest.FixtureRequest, outcomes: dict[str, Outcome], folder: Path
) -> Prediction:
    outcome = outcomes[request.param]
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return read_prediction(folder / f"{request.param}.bicepparam")


# https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
NAMES = {
    "Microsoft.App/containerApps": (2, 32, r"[a-z0-9-]+"),
    "Microsoft.App/managedEnvironments": (1, 60, r"[a-z0-9-]+"),
    "Microsoft.App/sessionPools": (3, 63, r"[a-z][a-z0-9]*"),
    "Microsoft.CognitiveServices/accounts": (2, 64, r"[a-z0-9-]+"),
    "Microsoft.ContainerRegistry/registries": (5, 50, r"[a-z0-9]+"),
    "Microsoft.Resources/resourceGroups": (1, 90, r"[-\w.()]*[-\w()]"),
    "Microsoft.Storage/storageAccounts": (3, 24, r"[a-z0-9]+"),
    "Microsoft.Web/sites": (2, 60, r"[a-z0-9-]+"),
}


def test_whatever_the_environment_is_called_names_of_resources_fit(accepted: Prediction) -> None:
    found = [r for r in accepted.resources if r.type in NAMES]

    assert len(found) >= 3
    for resource in found:
        shortest, longest, characters = NAMES[resource.type]
        assert shortest <= len(resource.name) <= longest, resource.name
        assert re.fullmatch(characters, resource.name), resource.name


def test_everything_at_once_is_deployed_beside_a_foreign_account(
    outcomes: dict[str, Outcome], folder: Path
) -> None:
    name = "both hosts, network, sign-in, foreign account"
    assert outcomes[name].returncode == 0
    everything = read_prediction(folder / f"{name}.bicepparam")

    assert len(everything.all("Web/sites")) == len(everything.all("App/containerApps")) == 1
    assert not everything.all("CognitiveServices/accounts")
    assert len(everything.all("Network/privateDnsZones")) == 1
    settings = everything.settings()
    required = {host: values["SIGN_IN_REQUIRED"] for host, values in settings.items()}
    assert required == {"flex": "true", "container": "true"}


def test_function_app_that_is_no_longer_deployed_is_remembered(
    outcomes: dict[str, Outcome], folder: Path
) -> None:
    assert outcomes["no host any more"].returncode == 0
    outputs = read_prediction(folder / "no host any more.bicepparam").outputs

    assert outputs["AZURE_FUNCTION_APP_NAME"] == ""
    assert outputs["DEPLOYED_FUNCTION_APP"] == "func-before"


def test_pictures_are_kept_from_a_model_that_is_not_known_to_see(
    outcomes: dict[str, Outcome], folder: Path
) -> None:
    for name, vision in {
        "private again, a model that reads text alone": "none",
        "upper case": "questions",
    }.items():
        assert outcomes[name].returncode == 0
        settings = read_prediction(folder / f"{name}.bicepparam").settings()
        assert {each["AZURE_OPENAI_VISION"] for each in settings.values()} == {vision}
