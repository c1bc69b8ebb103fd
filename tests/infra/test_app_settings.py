"""infra/ and agent/settings.py speak of the same app settings."""

import re

from agent.settings import Settings
from tests.infra.prediction import PREDICTIONS, Prediction
from tests.support.bicep import INFRA

# What the Functions host reads, on either hosting.
HOST = {
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsStorage__credential",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED",
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL",
    "OTEL_TRACES_SAMPLER",
    "PYTHON_ENABLE_OPENTELEMETRY",
    "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT",
}
FLEX_BUILD = {"PIP_NO_DEPS", "SOURCE_DATE_EPOCH"}
SIGN_IN_OF_FLEX = {"OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID"}
CONTAINER_HOST = {"AzureFunctionsWebHost__hostid", "AzureWebJobsSecretStorageType"}
APP = {
    "AZURE_CLIENT_ID",
    "AZURE_OPENAI_CHAT_DEPLOYMENT_NAME",
    "AZURE_OPENAI_ENDPOINT",
    "CONVERSATIONS_URL",
    "POOL_MANAGEMENT_ENDPOINT",
}
# What the template derives from the model, unless the operator says it.
OF_THE_MODEL = {"vision": "AZURE_OPENAI_VISION"}
# What an operator may change, by the name of the parameter; written only where it is set.
OPERATOR = {
    "agentExamples": "AGENT_EXAMPLES",
    "agentInstructions": "AGENT_INSTRUCTIONS",
    "agentTitle": "AGENT_TITLE",
    "logContent": "LOG_CONTENT",
    "maxCompletionTokens": "AZURE_OPENAI_MAX_COMPLETION_TOKENS",
    "openDataHosts": "OPEN_DATA_HOSTS",
    "openAiApiVersion": "AZURE_OPENAI_API_VERSION",
    "reasoningEffort": "AZURE_OPENAI_REASONING_EFFORT",
    "sessionWarmUp": "SESSION_WARM_UP",
    "temperature": "AZURE_OPENAI_TEMPERATURE",
    "toolRounds": "TOOL_ROUNDS",
    "traceSampling": "OTEL_TRACES_SAMPLER_ARG",
    "turnTimeoutSeconds": "TURN_TIMEOUT_SECONDS",
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
    } - set(OPERATOR.values())

    assert without_a_value - APP == {
        "APPLICATIONINSIGHTS_CONNECTION_STRING",  # the host's too
        "OTEL_EXPORTER_OTLP_ENDPOINT",  # a collector is the operator's own: by APP_SETTINGS
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",  # likewise
        "WEBSITE_SITE_NAME",  # the platform's
    }
    assert without_a_value >= APP


def test_each_deployed_setting_is_the_apps_or_its_hosts(prediction: Prediction) -> None:
    signs_in = prediction.name == "sign-in"
    chosen = (
        set(OPERATOR.values()) | {"CONVERSATION_MAX_CHARS"}
        if prediction.name == "operator-settings"
        else set()
    )
    of_the_host = {
        "flex": HOST | FLEX_BUILD | (SIGN_IN_OF_FLEX if signs_in else set()),
        # App Service sets WEBSITE_AUTH_ENABLED itself, Container Apps does not.
        "container": HOST | CONTAINER_HOST | ({"WEBSITE_AUTH_ENABLED"} if signs_in else set()),
    }

    for host, settings in prediction.settings().items():
        of_the_app = (
            APP
            | set(OF_THE_MODEL.values())
            | chosen
            | ({"SIGN_IN_REQUIRED"} if signs_in else set())
        )
        assert set(settings) == of_the_app | of_the_host[host]


def test_outputs_carry_the_names_of_the_app_settings(prediction: Prediction) -> None:
    # The identity is the app's own: with its client id a developer's `az login` would not be used.
    assert set(prediction.outputs) == (APP - {"AZURE_CLIENT_ID"}) | {
        "API_URL",
        "AZURE_CONTAINER_APP_NAME",
        "AZURE_CONTAINER_REGISTRY_ENDPOINT",
        "AZURE_FUNCTION_APP_NAME",
        "AZURE_RESOURCE_GROUP",
        "DEPLOYED_FUNCTION_APP",
        "DEPLOYED_NETWORKING",
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


def test_each_setting_of_an_operator_has_a_parameter_whose_value_arrives() -> None:
    configuration = (INFRA.parent / "tests/infra/operator-settings.bicepparam").read_text()
    values = dict(re.findall(r"^param (\w+) = '(.*)'$", configuration, re.MULTILINE))

    for settings in PREDICTIONS["operator-settings"].settings().values():
        chosen = OPERATOR | OF_THE_MODEL
        assert {chosen[name]: values[name] for name in chosen}.items() <= settings.items()
        assert settings["CONVERSATION_MAX_CHARS"] == "100000"


def test_what_an_operator_did_not_set_is_left_to_the_app(default: Prediction) -> None:
    assert not set(OPERATOR.values()) & set(default.settings()["flex"])


def test_template_names_every_setting_that_it_writes_itself() -> None:
    listed = (INFRA / "main.bicep").read_text().partition("var reservedSettings")[2]
    names = set(re.findall(r"^    '(\w+)'$", listed.partition("objectKeys")[0], re.MULTILINE))
    written = {
        name
        for prediction in PREDICTIONS.values()
        for settings in prediction.settings().values()
        for name in settings
    }

    assert written - names == {*OPERATOR.values(), "CONVERSATION_MAX_CHARS"}


def test_capacity_of_the_model_carries_one_turn_at_the_limits_of_the_app() -> None:
    limits = {name: field.default for name, field in Settings.model_fields.items()}
    deployment = PREDICTIONS["default"].one("CognitiveServices/accounts/deployments")

    tokens_of_history = limits["conversation_max_chars"] / 4
    calls = limits["tool_rounds"] + 1
    assert deployment.body["sku"]["capacity"] * 1000 >= tokens_of_history * calls
