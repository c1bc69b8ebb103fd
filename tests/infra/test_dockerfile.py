"""The image of the container host holds what the deployment package holds."""

import re

import pytest

from tests.support import PROJECT


@pytest.fixture(scope="module")
def copied() -> set[str]:
    """What the Dockerfile takes from the project."""
    copies = re.findall(r"^COPY (.+) \S+$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    return {source for line in copies for source in line.split()}


def test_image_takes_the_app_and_its_pins_and_nothing_else(copied: set[str]) -> None:
    assert copied == {"agent", "function_app.py", "host.json", "requirements.txt"}
    assert [source for source in copied if not (PROJECT / source).exists()] == []


def test_build_context_is_what_the_image_takes(copied: set[str]) -> None:
    rules = (PROJECT / ".dockerignore").read_text().splitlines()

    assert "*" in rules
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied


def test_image_has_the_python_of_the_project() -> None:
    version = (PROJECT / ".python-version").read_text().strip()

    assert (
        f"FROM mcr.microsoft.com/azure-functions/python:4-python{version}\n"
        in (PROJECT / "Dockerfile").read_text()
    )


def test_image_installs_as_slim_as_the_remote_build() -> None:
    (install,) = re.findall(r"^RUN (.*pip install.*)$", (PROJECT / "Dockerfile").read_text(), re.M)

    assert "--no-deps" in install
    assert "SOURCE_DATE_EPOCH=315532800" in install


def test_image_logs_on_the_console_as_the_one_that_core_tools_write() -> None:
    assert re.search(
        r"^ENV AzureWebJobsScriptRoot=/home/site/wwwroot \\\n"
        r" +AzureFunctionsJobHost__Logging__Console__IsEnabled=true$",
        (PROJECT / "Dockerfile").read_text(),
        re.MULTILINE,
    )
