"""What azd reads: main.parameters.json and azure.yaml fit the template and the project."""

import json
import re
from typing import Any

import pytest
import yaml

from tests.infra.bicep import INFRA, PROJECT
from tests.infra.prediction import PREDICTIONS

REFERENCE = re.compile(r"\$\{(?P<name>[A-Z_0-9]+)(?:=(?P<default>.*))?\}")


@pytest.fixture(scope="module")
def parameters() -> dict[str, re.Match[str]]:
    """Each parameter's reference to a variable of azd."""
    values = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    found = {name: REFERENCE.fullmatch(entry["value"]) for name, entry in values.items()}
    assert all(found.values()), "every value is one reference to a variable of azd"
    return {name: match for name, match in found.items() if match}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((PROJECT / "azure.yaml").read_text())["services"]
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


def test_quota_that_azd_asks_for_is_that_of_the_default_model(template: dict[str, Any]) -> None:
    defaults = {n: p.get("defaultValue") for n, p in template["parameters"].items()}
    usage = template["parameters"]["location"]["metadata"]["azd"]["usageName"]

    assert usage == ["OpenAI.{modelSku}.{modelName}, {modelCapacity}".format_map(defaults)]


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
