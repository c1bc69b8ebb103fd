"""The compiler, what it makes of infra/, and each configuration's predicted deployment."""

import json
import subprocess
from typing import Any

import pytest

from tests.infra.prediction import PREDICTIONS, Prediction
from tests.support.bicep import HOW_TO_GET_IT, INFRA, Bicep, find_compiler


@pytest.fixture(scope="session")
def bicep() -> Bicep:
    """The compiler; tests that need it are skipped where it is missing."""
    compiler = find_compiler()
    if compiler is None:
        pytest.skip(HOW_TO_GET_IT)
    return Bicep(compiler)


@pytest.fixture(scope="session")
def build(bicep: Bicep) -> subprocess.CompletedProcess[str]:
    """The outcome of compiling main.bicep, modules and linter included."""
    return bicep.run("build", INFRA / "main.bicep", "--stdout")


@pytest.fixture(scope="session")
def template(build: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """main.bicep as the ARM template that is sent to Azure."""
    compiled: dict[str, Any] = json.loads(build.stdout)
    return compiled


@pytest.fixture(params=PREDICTIONS.values(), ids=list(PREDICTIONS))
def prediction(request: pytest.FixtureRequest) -> Prediction:
    """Each configuration in turn."""
    found: Prediction = request.param
    return found


@pytest.fixture
def default() -> Prediction:
    """What `azd up` deploys when nothing is set."""
    return PREDICTIONS["default"]
