"""infra/ and agent/settings.py speak of the same app settings."""

from agent.settings import Settings
from tests.infra.prediction import PREDICTIONS, Prediction

# What the Functions host reads, on either hosting.
HOST = {
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsStorage__credential",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT",
}
FLEX_BUILD = {"PIP_NO_DEPS", "SOURCE_DATE_EPOCH"}
APP = {
    "AZURE_CLIENT_ID",
    "AZURE_OPENAI_CHAT_DEPLOYMENT_NAME",
    "AZURE_OPENAI_ENDPOINT",
    "CONVERSATIONS_URL",
    "POOL_MANAGEMENT_ENDPOINT",
}
# Settings by which Flex Consumption refuses a deployment: functionAppConfig says the same.
REFUSED_ON_FLEX = {
    "ENABLE_ORYX_BUILD",
    "FUNCTIONS_EXTENSION_VERSION",
    "FUNCTIONS_WORKER_PROCESS_COUNT",
    "FUNCTIONS_WORKER_RUNTIME",
    "FUNCTIONS_WORKER_RUNTIME_VERSION",
    "SCM_DO_BUILD_DURING_DEPLOYMENT",
    "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING",
    "WEBSITE_CONTENTSHARE",
    "WEBSITE_RUN_FROM_PACKAGE",
    "WEBSITE_VNET_ROUTE_ALL",
}


def test_each_setting_that_only_azure_can_know_is_deployed() -> None:
    without_a_value = {
        name.upper()
        for name, field in Settings.model_fields.items()
        if field.is_required() or field.default in (None, "")
    }

    assert without_a_value == APP


def test_each_deployed_setting_is_read_by_the_app_or_by_its_host(prediction: Prediction) -> None:
    read_by_the_app = {name.upper() for name in Settings.model_fields}
    signs_in = prediction.name == "sign-in"
    read_by_the_host = {
        "flex": HOST
        | FLEX_BUILD
        | ({"OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID"} if signs_in else set()),
        "container": HOST | {"AzureWebJobsSecretStorageType"},
    }

    for host, settings in prediction.settings().items():
        # App Service sets this one itself, Container Apps does not.
        told = {"WEBSITE_AUTH_ENABLED"} if signs_in and host == "container" else set()
        assert set(settings) - read_by_the_host[host] == APP | told
        assert read_by_the_app >= APP | told


def test_outputs_carry_the_names_of_the_app_settings(prediction: Prediction) -> None:
    # The identity is the app's own: with its client id a developer's `az login` would not be used.
    assert set(prediction.outputs) == (APP - {"AZURE_CLIENT_ID"}) | {
        "API_URL",
        "AZURE_CONTAINER_APP_NAME",
        "AZURE_CONTAINER_REGISTRY_ENDPOINT",
        "AZURE_FUNCTION_APP_NAME",
        "AZURE_RESOURCE_GROUP",
    }


def test_host_storage_is_reached_with_the_identity(prediction: Prediction) -> None:
    for settings in prediction.settings().values():
        assert settings["AzureWebJobsStorage__credential"] == "managedidentity"
        assert "AzureWebJobsStorage" not in settings
        assert settings["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"].endswith(
            "outputs.clientId.value)]"
        )
        assert "Authorization=AAD" in settings["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"]


def test_flex_consumption_gets_no_setting_that_it_refuses(prediction: Prediction) -> None:
    assert not REFUSED_ON_FLEX & set(prediction.settings().get("flex", {}))


def test_both_hosts_get_the_same_values() -> None:
    hosts = PREDICTIONS["sign-in"].settings()
    shared = HOST | APP

    assert {n: hosts["flex"][n] for n in shared} == {n: hosts["container"][n] for n in shared}
