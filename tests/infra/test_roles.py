"""Who may do what: each role by name, at the narrowest scope that exists for it."""

import pytest

from tests.infra.prediction import PREDICTIONS, Prediction

ROLES = {
    "5e0bd9bd-7b93-4f28-af87-19fc36ad61bd": "Cognitive Services OpenAI User",
    "0fb8eba5-a2bb-4abe-b1c1-49dfad359bb0": "Azure ContainerApps Session Executor",
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
    "7f951dda-4ed3-4680-a7ca-43fe172d538d": "AcrPull",
}

type Grant = tuple[str, str, str]

APP: set[Grant] = {
    ("app", "Cognitive Services OpenAI User", "accounts"),
    ("app", "Azure ContainerApps Session Executor", "sessionPools"),
    ("app", "Storage Blob Data Owner", "storageAccounts"),
    ("app", "Storage Blob Data Contributor", "containers/conversations"),
    ("app", "Monitoring Metrics Publisher", "components"),
}
APP_AS_CONTAINER = APP | {("app", "AcrPull", "registries")}
DEVELOPER: set[Grant] = {
    ("developer", "Cognitive Services OpenAI User", "accounts"),
    ("developer", "Azure ContainerApps Session Executor", "sessionPools"),
    ("developer", "Storage Blob Data Contributor", "containers/conversations"),
}


def grants(prediction: Prediction) -> list[Grant]:
    """Each role assignment as (who, role, where)."""
    found = []
    for assignment in prediction.all("Authorization/roleAssignments"):
        principal = assignment.properties["principalId"]
        *_, kind, name = assignment.id.split("/providers/Microsoft.Authorization/")[0].split("/")
        found.append(
            (
                "app" if "outputs.principalId" in principal else "developer",
                ROLES[assignment.properties["roleDefinitionId"].split("/")[-1]],
                f"{kind}/{name}" if kind == "containers" else kind,
            )
        )
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("default", APP),
        ("developer", APP | DEVELOPER),
        ("container-host", APP_AS_CONTAINER | DEVELOPER),
        ("private-network", APP_AS_CONTAINER | DEVELOPER),
        ("sign-in", APP_AS_CONTAINER),
        ("operator-settings", APP_AS_CONTAINER),
        ("private-existing-account", APP),
        ("existing-account", APP | DEVELOPER),
        ("services-only", APP | DEVELOPER),
    ],
)
def test_app_and_developer_get_these_roles_and_no_other(name: str, expected: set[Grant]) -> None:
    found = grants(PREDICTIONS[name])

    assert set(found) == expected
    assert len(found) == len(expected)


def test_no_role_is_given_on_a_group_or_subscription(prediction: Prediction) -> None:
    scopes = [
        assignment.id.split("/providers/Microsoft.Authorization/")[0]
        for assignment in prediction.all("Authorization/roleAssignments")
    ]

    assert scopes
    assert [scope for scope in scopes if "/providers/" not in scope] == []


@pytest.mark.parametrize(
    ("name", "developer_type"),
    [
        ("developer", "User"),
        ("private-network", "Group"),
        ("existing-account", "ServicePrincipal"),
    ],
)
def test_principal_type_is_given_so_that_a_new_identity_is_found(
    name: str, developer_type: str
) -> None:
    types = {
        ("app" if "outputs" in a.properties["principalId"] else "developer"): a.properties[
            "principalType"
        ]
        for a in PREDICTIONS[name].all("Authorization/roleAssignments")
    }

    assert types == {"app": "ServicePrincipal", "developer": developer_type}


def test_names_of_assignments_are_known_before_the_deployment(prediction: Prediction) -> None:
    names = [a.name for a in prediction.all("Authorization/roleAssignments")]

    assert not [name for name in names if "[" in name]
    assert len(set(names)) == len(names)


def test_role_on_an_existing_account_is_assigned_where_the_account_is() -> None:
    (scope,) = {
        a.id.split("/providers/Microsoft.Authorization/")[0]
        for a in PREDICTIONS["existing-account"].all("Authorization/roleAssignments")
        if "CognitiveServices" in a.id
    }

    assert scope == (
        "/subscriptions/55555555-5555-5555-5555-555555555555/resourceGroups/rg-models"
        "/providers/Microsoft.CognitiveServices/accounts/shared-models"
    )
