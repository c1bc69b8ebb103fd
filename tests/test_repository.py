"""What galleries, forks and editors look for is there, and says what is so."""

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[1]
GITHUB = PROJECT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
PARAMETERS = json.loads((PROJECT / "infra/main.parameters.json").read_text())["parameters"]
VARIABLES = {re.sub(r"\$\{(\w+).*", r"\1", entry["value"]) for entry in PARAMETERS.values()}


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def workflow(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture(scope="module")
def container() -> dict[str, Any]:
    """.devcontainer/devcontainer.json, which may hold comments."""
    text = (PROJECT / ".devcontainer/devcontainer.json").read_text()
    parsed: dict[str, Any] = json.loads(re.sub(r"(^|\s)//.*$", "", text, flags=re.MULTILINE))
    return parsed


# https://github.com/microsoft/template-validation-action/blob/main/src/rules.json and, for the
# notice, the galleries' own checklist.
@pytest.mark.parametrize(
    "heading", ["Features", "Getting Started", "Guidance", "Resources", "Important Security Notice"]
)
def test_readme_has_the_headings_that_galleries_look_for(heading: str) -> None:
    assert f"\n## {heading}\n" in (PROJECT / "README.md").read_text()


@pytest.mark.parametrize(
    "path",
    [
        "LICENSE",
        "CHANGELOG.md",
        "azure.yaml",
        "infra/main.bicep",
        ".devcontainer/devcontainer.json",
        ".github/SECURITY.md",
        ".github/CONTRIBUTING.md",
        ".github/CODE_OF_CONDUCT.md",
        ".github/ISSUE_TEMPLATE/bug.yml",
        ".github/workflows/azure-dev.yml",
    ],
)
def test_files_that_galleries_look_for_are_there(path: str) -> None:
    assert (PROJECT / path).stat().st_size > 0


def test_each_ignored_rule_has_a_reason_of_its_own() -> None:
    folders = ("agent", "bench", "local", "tests")
    modules = [path for folder in folders for path in (PROJECT / folder).rglob("*.py")]
    lines = [line for path in modules for line in path.read_text().splitlines()]
    ignored = [line for line in lines if re.search(r"#\x20(noqa|type: ignore|fmt: )", line)]
    reasons = [re.search(r"(?:[A-Z]\d+ - |\]  # )(?=\w|`)(.+)$", line) for line in ignored]
    assert len(ignored) > 20
    assert [line for line, why in zip(ignored, reasons, strict=True) if why is None] == []
    given = [why[1] for why in reasons if why is not None]
    assert sorted(given) == sorted(set(given))


def test_issue_forms_have_a_name_and_fields_of_known_types() -> None:
    forms = sorted((GITHUB / "ISSUE_TEMPLATE").glob("[!c]*.yml"))
    assert [form.stem for form in forms] == ["bug", "idea"]
    for form in forms:
        content = yaml.safe_load(form.read_text())
        assert content["name"]
        assert content["description"]
        for field in content["body"]:
            assert field["type"] in {"input", "textarea", "dropdown", "markdown", "checkboxes"}
            assert field["attributes"]["label"]


def test_each_action_is_pinned_by_hash_with_its_version_beside_it(workflow: Path) -> None:
    uses = re.findall(r"uses: *(.+)$", workflow.read_text(), re.MULTILINE)

    assert uses
    for action in uses:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_the_same_action_has_the_same_hash_everywhere() -> None:
    text = "".join(path.read_text() for path in WORKFLOWS)
    pins = set(re.findall(r"uses: ([\w/-]+)@(\w+)", text))

    assert "actions/checkout" in {name for name, _ in pins}
    assert len({name for name, _ in pins}) == len(pins)


def test_workflows_may_read_and_no_more_except_to_log_in(workflow: Path) -> None:
    content = yaml.safe_load(workflow.read_text())

    assert content["permissions"] == {"contents": "read"}
    logs_in = {"contents": "read", "id-token": "write"}
    (job,) = content["jobs"].values()
    assert job.get("permissions") == (logs_in if workflow.stem == "azure-dev" else None)
    assert job["timeout-minutes"] <= 60
    (checkout,) = [step for step in job["steps"] if "checkout" in step.get("uses", "")]
    assert checkout["with"]["persist-credentials"] is False


def test_nothing_that_others_write_gets_into_a_script(workflow: Path) -> None:
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    scripts = [step["run"] for job in jobs for step in job["steps"] if "run" in step]

    assert scripts
    assert [script for script in scripts if "${{" in script] == []


def test_pipeline_hands_on_every_option_but_a_developer() -> None:
    (job,) = yaml.safe_load((GITHUB / "workflows/azure-dev.yml").read_text())["jobs"].values()
    login = {"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_SUBSCRIPTION_ID"}

    assert set(job["env"]) == login | {v for v in VARIABLES if not v.startswith("DEVELOPER_")}
    for name, value in job["env"].items():
        assert f"vars.{name} " in value
    assert "|| '{}'" in job["env"]["APP_SETTINGS"]


def test_ci_runs_what_developers_run_with_the_compiler_of_the_snapshots() -> None:
    from tests.support.bicep import VERSION

    text = (GITHUB / "workflows/ci.yml").read_text()
    assert "- run: .ci/run\n" in text
    assert f"az bicep install --version v{VERSION}\n" in text


def test_dev_container_has_the_options_that_the_sandbox_needs_and_no_more(
    container: dict[str, Any],
) -> None:
    options = [option.removeprefix("--security-opt=") for option in container["runArgs"]]
    page = (PROJECT / "docs/development.md").read_text()
    explained = page.partition("| Option | Without it |")[2].partition("\n\n")[0]

    assert options == re.findall(r"^\| `([\w=]+)` \|", explained, re.MULTILINE)
    assert not {"privileged", "capAdd", "mounts"} & set(container)
    assert container["remoteUser"] == "vscode"
    assert container["init"] is True


def test_dev_container_prepares_what_the_tests_need(container: dict[str, Any]) -> None:
    file = (PROJECT / ".devcontainer" / container["build"]["dockerfile"]).read_text()

    assert container["postCreateCommand"] == "local/setup.sh tests"
    for package in ("bubblewrap", "make", "nodejs", "npm", "python3-venv", "azure-cli"):
        assert re.search(rf"\b{package}\b", file), package
    assert "azure-functions-core-tools-4" in file
    assert "install-azd.sh" in file


def test_architecture_picture_shows_what_its_source_says() -> None:
    source = (PROJECT / "docs/architecture.dot").read_text()
    picture = (PROJECT / "docs/architecture.svg").read_text()
    drawn = [html.unescape(t) for t in re.findall(r"<text [^>]*>([^<]*)</text>", picture)]
    labels = [
        line for label in re.findall(r'\[label="([^"]*)"', source) for line in label.split("\\n")
    ]

    assert sorted(drawn) == sorted(labels)
    assert "](docs/architecture.svg)" in (PROJECT / "README.md").read_text()
