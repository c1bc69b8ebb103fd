"""What azd reads: main.parameters.json and azure.yaml fit the template and the project."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.prediction import PREDICTIONS, Prediction
from tests.support import PROJECT
from tests.support.bicep import INFRA

# Where each service is, read in August 2026:
# https://learn.microsoft.com/azure/container-apps/sessions, the list of regions
# `az functionapp list-flexconsumption-locations`, as the quickstarts' templates have it
# https://learn.microsoft.com/azure/foundry/foundry-models/concepts/models-sold-directly-by-azure,
# gpt-5.4-mini 2026-03-17 as GlobalStandard
REGIONS = Path(__file__).with_name("regions.tsv")

REFERENCE = re.compile(r"\$\{(?P<name>[A-Z_0-9]+)(?:=(?P<default>.*))?\}")


@pytest.fixture(scope="module")
def parameters() -> dict[str, re.Match[str]]:
    """Each parameter's reference to a variable of azd."""
    values = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    found = {name: REFERENCE.fullmatch(entry["value"]) for name, entry in values.items()}
    assert all(found.values()), "every value is one reference to a variable of azd"
    return {name: match for name, match in found.items() if match}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((PROJECT / "azure.yaml").read_text())
    return found


@pytest.fixture(scope="module")
def services(project: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = project["services"]
    return found


def test_azd_can_set_every_parameter(
    template: dict[str, Any], parameters: dict[str, re.Match[str]]
) -> None:
    assert set(parameters) == set(template["parameters"])
    assert len({match["name"] for match in parameters.values()}) == len(parameters)


def test_defaults_of_azd_are_the_defaults_of_the_template(
    template: dict[str, Any], parameters: dict[str, re.Match[str]]
) -> None:
    def as_text(value: object) -> str:
        if value == {}:
            return ""  # azd leaves an unset object out
        return str(value).lower() if isinstance(value, bool) else str(value)

    assert {name: match["default"] or "" for name, match in parameters.items()} == {
        name: as_text(parameter.get("defaultValue", ""))
        for name, parameter in template["parameters"].items()
    }


def test_every_parameter_is_described(template: dict[str, Any]) -> None:
    undescribed = [
        name
        for name, parameter in template["parameters"].items()
        if not parameter.get("metadata", {}).get("description")
    ]

    assert undescribed == []


def test_no_quota_is_asked_for_that_a_variable_could_make_wrong(template: dict[str, Any]) -> None:
    assert template["parameters"]["location"]["metadata"]["azd"] == {"type": "location"}


def test_regions_are_those_with_pools_flex_consumption_and_the_model(
    template: dict[str, Any],
) -> None:
    regions = set(template["parameters"]["location"]["allowedValues"])

    rows = [line.split("\t") for line in REGIONS.read_text().splitlines()[1:]]
    assert regions == {name for name, *services in rows if services == ["yes"] * 3}
    assert not {"northeurope", "southcentralus"} & regions


def test_azd_fills_in_what_the_earlier_deployment_put_out(
    parameters: dict[str, re.Match[str]], prediction: Prediction
) -> None:
    carried = {match["name"] for name, match in parameters.items() if name.startswith("deployed")}

    assert carried == {"DEPLOYED_FUNCTION_APP", "DEPLOYED_NETWORKING"}
    assert carried - set(prediction.outputs) == set()


def test_no_parameter_is_azds_own_login(parameters: dict[str, re.Match[str]]) -> None:
    # azd answers these two itself, whatever was set: they cannot be empty, and in a pipeline they
    # would give the pipeline the developer's roles.
    names = {match["name"] for match in parameters.values()}

    assert not names & {"AZURE_PRINCIPAL_ID", "AZURE_PRINCIPAL_TYPE"}


def test_azd_is_new_enough_to_leave_foreign_groups_alone(project: dict[str, Any]) -> None:
    # https://github.com/Azure/azure-dev/pull/7698, released with 1.24.1
    assert project["requiredVersions"]["azd"] == ">= 1.24.1"


def test_services_are_found_by_the_tags_of_the_hosts(services: dict[str, Any]) -> None:
    both = PREDICTIONS["sign-in"]

    assert {service["host"]: name for name, service in services.items()} == {
        "function": both.one("Web/sites").body["tags"]["azd-service-name"],
        "containerapp": both.one("App/containerApps").body["tags"]["azd-service-name"],
    }


def test_a_service_is_deployed_exactly_when_its_host_is(
    services: dict[str, Any], parameters: dict[str, re.Match[str]]
) -> None:
    assert services["api"]["condition"] == parameters["flexHost"][0]
    assert services["api-container"]["condition"] == parameters["containerHost"][0]


def test_provisioning_again_keeps_the_image_that_azd_deployed(
    services: dict[str, Any], parameters: dict[str, re.Match[str]]
) -> None:
    # azd keeps the last image of a service under this name.
    service = next(n for n, s in services.items() if s["host"] == "containerapp")
    variable = f"SERVICE_{service.upper().replace('-', '_')}_IMAGE_NAME"

    assert parameters["containerImage"]["name"] == variable


def test_paths_of_the_services_exist(services: dict[str, Any]) -> None:
    docker = services["api-container"]["docker"]

    assert {service["project"] for service in services.values()} == {"."}
    assert (PROJECT / docker["path"]).is_file()
    assert (PROJECT / docker["context"]).resolve() == PROJECT
