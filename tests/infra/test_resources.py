"""What is deployed: kinds, sizes and the switches that keep it safe."""

import json
import re

import pytest

from local.app_service_auth import EXCLUDED_PATHS
from tests.infra.prediction import PREDICTIONS, Prediction
from tests.support import PROJECT


def test_model_is_deployed_on_an_account_that_tokens_can_reach(default: Prediction) -> None:
    account = default.one("CognitiveServices/accounts")
    deployment = default.one("CognitiveServices/accounts/deployments")

    assert (account.body["kind"], account.body["sku"]) == ("OpenAI", {"name": "S0"})
    assert account.properties["customSubDomainName"] == account.name
    assert deployment.body["sku"] == {"name": "GlobalStandard", "capacity": 500}
    assert deployment.properties["model"] == {
        "format": "OpenAI",
        "name": "gpt-5.4-mini",
        "version": "2026-03-17",
    }


def test_app_runs_on_flex_consumption_with_python_3_13(default: Prediction) -> None:
    plan = default.one("Web/serverfarms")
    config = default.one("Web/sites").properties["functionAppConfig"]

    assert plan.body["sku"] == {"name": "FC1", "tier": "FlexConsumption"}
    assert plan.properties["reserved"] is True
    assert config["runtime"] == {"name": "python", "version": "3.13"}
    assert config["scaleAndConcurrency"]["triggers"]["http"] == {"perInstanceConcurrency": 50}
    assert config["scaleAndConcurrency"]["alwaysReady"] == []
    assert config["deployment"]["storage"]["authentication"]["type"] == "UserAssignedIdentity"


def test_size_and_scale_are_what_the_parameters_say() -> None:
    busy = PREDICTIONS["private-network"]
    scale = busy.one("Web/sites").properties["functionAppConfig"]["scaleAndConcurrency"]
    pool = busy.one("App/sessionPools").properties

    assert scale == {
        "maximumInstanceCount": 100,
        "instanceMemoryMB": 4096,
        "alwaysReady": [{"name": "http", "instanceCount": 2}],
        "triggers": {"http": {"perInstanceConcurrency": 32}},
    }
    assert pool["scaleConfiguration"] == {"maxConcurrentSessions": 200}
    lifecycle = pool["dynamicPoolConfiguration"]["lifecycleConfiguration"]
    assert lifecycle == {"lifecycleType": "Timed", "cooldownPeriodInSeconds": 900}


def test_sessions_cannot_reach_the_network(prediction: Prediction) -> None:
    pool = prediction.one("App/sessionPools").properties

    assert pool["containerType"] == "PythonLTS"
    assert pool["sessionNetworkConfiguration"] == {"status": "EgressDisabled"}


def test_keys_are_switched_off_wherever_there_is_a_switch(prediction: Prediction) -> None:
    storage = prediction.one("Storage/storageAccounts").properties
    publishing = prediction.all("Web/sites/basicPublishingCredentialsPolicies")

    assert storage["allowSharedKeyAccess"] is False
    assert storage["allowBlobPublicAccess"] is False
    assert all(
        account.properties["disableLocalAuth"] is True
        for account in prediction.all("CognitiveServices/accounts")
    )
    assert prediction.one("Insights/components").properties["DisableLocalAuth"] is True
    workspace = prediction.one("OperationalInsights/workspaces").properties
    assert workspace["features"] == {"disableLocalAuth": True}
    assert {(p.name.split("/")[1], p.properties["allow"]) for p in publishing} == (
        {("ftp", False), ("scm", False)} if prediction.all("Web/sites") else set()
    )
    for registry in prediction.all("ContainerRegistry/registries"):
        assert registry.properties["adminUserEnabled"] is False
        assert registry.properties["anonymousPullEnabled"] is False


def test_traffic_is_encrypted_with_tls_1_2_or_later(prediction: Prediction) -> None:
    storage = prediction.one("Storage/storageAccounts").properties

    assert storage["supportsHttpsTrafficOnly"] is True
    assert storage["minimumTlsVersion"] == "TLS1_2"
    for site in prediction.all("Web/sites"):
        assert site.properties["httpsOnly"] is True
        config = site.properties["siteConfig"]
        assert (config["minTlsVersion"], config["scmMinTlsVersion"]) == ("1.2", "1.2")
        assert config["ftpsState"] == "Disabled"
    for app in prediction.all("App/containerApps"):
        assert app.properties["configuration"]["ingress"]["allowInsecure"] is False


def test_whatever_has_diagnostic_settings_sends_them_to_the_workspace(
    prediction: Prediction,
) -> None:
    everything = [{"categoryGroup": "allLogs", "enabled": True}]
    own = {
        "Web/sites": ["FunctionAppLogs"],
        "App/managedEnvironments": ["ContainerAppConsoleLogs", "ContainerAppSystemLogs"],
    }
    logged = set()
    for setting in prediction.all("Insights/diagnosticSettings"):
        resource_id = setting.id.split("/providers/Microsoft.Insights/diagnosticSettings/")[0]
        kind = "/".join(resource_id.partition("/providers/Microsoft.")[2].split("/")[:2])
        categories = [{"category": category, "enabled": True} for category in own.get(kind, [])]
        assert setting.properties["logs"] == (categories or everything), resource_id
        logged.add(resource_id)

    assert logged == {
        resource.id
        for resource_type in (
            "App/managedEnvironments",
            "CognitiveServices/accounts",
            "ContainerRegistry/registries",
            "Storage/storageAccounts/blobServices",
            "Web/sites",
        )
        for resource in prediction.all(resource_type)
    }


def test_each_line_of_the_log_arrives_once(prediction: Prediction) -> None:
    host = json.loads((PROJECT / "host.json").read_text())
    # The host leaves the lines of a worker that says this out of Application Insights.
    for settings in prediction.settings().values():
        assert settings["PYTHON_ENABLE_OPENTELEMETRY"] == "true"
    assert host["telemetryMode"] == "OpenTelemetry"
    # And its own by this, which the diagnostic settings above have.
    assert host["logging"]["OpenTelemetry"] == {"logLevel": {"default": "None"}}


def test_no_key_and_no_secret_is_read_set_or_put_out(prediction: Prediction) -> None:
    text = str([resource.body for resource in prediction.resources]) + str(prediction.outputs)

    for word in ("listKeys", "listAccountSas", "AccountKey", "SharedAccess", "sharedKey", "[list"):
        assert word not in text
    assert not prediction.all("KeyVault/vaults")
    assert not [name for name in prediction.outputs if "KEY" in name or "SECRET" in name]


def test_container_host_runs_the_image_that_was_deployed_last() -> None:
    container = PREDICTIONS["container-host"]
    app = container.one("App/containerApps")
    (main,) = app.properties["template"]["containers"]

    assert app.body["kind"] == "functionapp"
    assert main["image"] == "crexample.azurecr.io/agent/api-container:azd-deploy-1"
    assert container.one("ContainerRegistry/registries").body["sku"] == {"name": "Basic"}
    assert not container.all("Web/sites")


def test_private_network_closes_storage_and_model_and_opens_endpoints_to_them() -> None:
    private = PREDICTIONS["private-network"]
    closed = [private.one("Storage/storageAccounts"), private.one("CognitiveServices/accounts")]
    connections = [
        endpoint.properties["privateLinkServiceConnections"][0]["properties"]
        for endpoint in private.all("Network/privateEndpoints")
    ]

    assert {r.properties["publicNetworkAccess"] for r in closed} == {"Disabled"}
    assert {r.properties["networkAcls"]["defaultAction"] for r in closed} == {"Deny"}
    assert {(c["privateLinkServiceId"], *c["groupIds"]) for c in connections} == {
        (closed[0].id, "blob"),
        (closed[1].id, "account"),
    }
    subnets = private.one("Network/virtualNetworks").properties["subnets"]
    assert {
        subnet["name"]: [d["properties"]["serviceName"] for d in delegations]
        for subnet in subnets
        if (delegations := subnet["properties"].get("delegations"))
    } == {"functions": ["Microsoft.App/environments"], "containers": ["Microsoft.App/environments"]}
    assert "functionsSubnetId" in private.one("Web/sites").properties["virtualNetworkSubnetId"]
    environment = private.one("App/managedEnvironments").properties["vnetConfiguration"]
    assert "containersSubnetId" in environment["infrastructureSubnetId"]


SIGN_IN = {"Web/sites/config": "Web/sites", "App/containerApps/authConfigs": "App/containerApps"}


@pytest.mark.parametrize("resource_type", SIGN_IN)
def test_sign_in_refuses_strangers_and_needs_no_secret(resource_type: str) -> None:
    auth = PREDICTIONS["sign-in"].one(resource_type).properties
    provider = auth["identityProviders"]["azureActiveDirectory"]

    assert auth["platform"] == {"enabled": True}
    assert auth["globalValidation"]["unauthenticatedClientAction"] == "Return401"
    assert set(auth["globalValidation"]["excludedPaths"]) == EXCLUDED_PATHS  # as on this machine
    assert auth["globalValidation"].get("requireAuthentication", True) is True
    assert provider["registration"]["clientId"] == "33333333-3333-3333-3333-333333333333"
    assert provider["registration"].get("clientSecretSettingName") in {
        None,
        "OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID",  # the managed identity's client id, not a secret
    }
    assert provider["validation"]["defaultAuthorizationPolicy"] == {
        "allowedPrincipals": {
            "identities": [
                "66666666-6666-6666-6666-666666666666",
                "77777777-7777-7777-7777-777777777777",
            ],
            "groups": ["88888888-8888-8888-8888-888888888888"],
        }
    }


@pytest.mark.parametrize(
    ("name", "hosts", "accounts"),
    [
        ("container-host", ["container"], 1),
        ("default", ["flex"], 1),
        ("developer", ["flex"], 1),
        ("existing-account", ["flex"], 0),
        ("operator-settings", ["container", "flex"], 1),
        ("private-existing-account", ["flex"], 0),
        ("private-network", ["container", "flex"], 1),
        ("services-only", [], 1),
        ("sign-in", ["container", "flex"], 1),
    ],
)
def test_a_configuration_deploys_these_hosts(name: str, hosts: list[str], accounts: int) -> None:
    """What other tests say of each host and account, they say of at least these."""
    prediction = PREDICTIONS[name]

    assert sorted(prediction.settings()) == hosts
    assert len(prediction.all("Web/sites")) == hosts.count("flex")
    assert len(prediction.all("App/containerApps")) == hosts.count("container")
    assert len(prediction.all("ContainerRegistry/registries")) == hosts.count("container")
    assert len(prediction.all("CognitiveServices/accounts")) == accounts


def test_app_asserts_the_sign_in_that_the_platform_makes(prediction: Prediction) -> None:
    for host, resource_type in zip(("flex", "container"), SIGN_IN, strict=True):
        if settings := prediction.settings().get(host):
            switched_on = prediction.one(resource_type).properties["platform"]["enabled"]
            assert (settings.get("SIGN_IN_REQUIRED") == "true") is switched_on


def test_deployment_without_sign_in_switches_an_earlier_one_off(prediction: Prediction) -> None:
    for resource_type, host in SIGN_IN.items():
        assert len(prediction.all(resource_type)) == len(prediction.all(host))
        for auth in prediction.all(resource_type):
            if prediction.name != "sign-in":
                assert auth.properties["platform"] == {"enabled": False}
                assert auth.properties["identityProviders"] == {}


def test_private_network_leaves_the_name_of_an_existing_account_alone() -> None:
    zones = [z.name for z in PREDICTIONS["private-existing-account"].all("Network/privateDnsZones")]

    (zone,) = zones
    assert "privatelink.blob." in zone
    assert len(PREDICTIONS["private-network"].all("Network/privateDnsZones")) == 2


def test_names_that_a_private_zone_does_not_have_are_asked_for_outside(
    prediction: Prediction,
) -> None:
    links = prediction.all("Network/privateDnsZones/virtualNetworkLinks")
    zones = {"private-network": 2, "private-existing-account": 1}.get(prediction.name, 0)

    assert [link.properties["resolutionPolicy"] for link in links] == ["NxDomainRedirect"] * zones


def test_keys_of_the_container_host_belong_to_a_pinned_host() -> None:
    container = PREDICTIONS["container-host"]
    host_id = container.settings()["container"]["AzureFunctionsWebHost__hostid"]

    assert host_id == container.one("App/containerApps").name
    assert re.fullmatch(r"[a-z0-9](-?[a-z0-9])*", host_id)
    assert len(host_id) <= 32


def test_existing_account_is_used_as_it_is() -> None:
    existing = PREDICTIONS["existing-account"]

    assert not existing.all("CognitiveServices/accounts")
    assert not existing.all("CognitiveServices/accounts/deployments")
    assert existing.outputs["AZURE_OPENAI_CHAT_DEPLOYMENT_NAME"] == "chat"
    assert "'rg-models'" in existing.outputs["AZURE_OPENAI_ENDPOINT"]


def test_without_a_host_there_are_the_services_and_nothing_to_call() -> None:
    services = PREDICTIONS["services-only"]

    assert not services.settings()
    assert not services.all("Web/serverfarms")
    assert not services.all("App/managedEnvironments")
    assert services.outputs["API_URL"] == ""


def test_the_workspace_takes_so_much_a_day_and_no_more(prediction: Prediction) -> None:
    workspace = prediction.one("OperationalInsights/workspaces")
    expected = 5 if prediction.name == "operator-settings" else 1
    assert workspace.properties["workspaceCapping"] == {"dailyQuotaGb": expected}


def test_alerts_are_off_until_somebody_gets_them(prediction: Prediction) -> None:
    rules = prediction.all("Insights/scheduledQueryRules")
    groups = prediction.all("Insights/actionGroups")
    if prediction.name != "operator-settings":
        assert (list(rules), list(groups)) == ([], [])
        return
    (group,) = groups
    assert group.properties["emailReceivers"][0]["emailAddress"] == "operators@example.com"
    names = {rule.id.rpartition("/")[2] for rule in rules}
    assert names == {"turns-fail", "turns-are-slow", "turns-are-throttled"}
    for rule in rules:
        assert rule.properties["actions"]["actionGroups"] == [group.id]


def test_there_is_a_workbook_of_the_workspace(prediction: Prediction) -> None:
    (workbook,) = prediction.all("Insights/workbooks")
    assert workbook.properties["category"] == "workbook"
