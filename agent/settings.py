"""App settings: the name, unit and default of each; read once, by `agent.runtime`.

In Azure they are the function app's application settings (infra/ writes them), on a laptop the
`Values` of local.settings.json. https://learn.microsoft.com/azure/azure-functions/functions-app-settings
"""

import json
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from agent.errors import SettingsError

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})
# The folder of function_app.py, where the app is deployed: `file:` begins there.
APP_ROOT: Final = Path(__file__).resolve().parents[1]
_FILE: Final = "file:"
# About 5,000 tokens, with every call of the model.
INSTRUCTIONS_MAX_CHARS: Final = 20_000
TITLE_MAX_CHARS: Final = 80
EXAMPLES_MAX: Final = 12
EXAMPLE_MAX_CHARS: Final = 2_000


def _secure(url: str) -> str:
    """An address that tokens may be sent to: https, or this machine."""
    parts = urlsplit(url)
    loopback = parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS
    if not parts.hostname or not (parts.scheme == "https" or loopback):
        raise ValueError("must be an https:// address, or http:// on 127.0.0.1, ::1 or localhost")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError("must be an address without user, query or fragment")
    return url.rstrip("/")


def _secure_endpoints(connection_string: str) -> str:
    """A connection string of Application Insights, whose endpoints get tokens too."""
    pairs = (part.partition("=") for part in connection_string.split(";"))
    parts = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if not parts.get("instrumentationkey"):
        raise ValueError("must be a connection string: InstrumentationKey=…;IngestionEndpoint=…")
    for name, value in parts.items():
        if name.endswith("endpoint"):
            try:
                _secure(value)
            except ValueError as error:
                raise ValueError(f"{name} {error}") from None
    return connection_string


def _text(value: str) -> str:
    """A text without space around it, which has something in it and can be sent."""
    text = value.strip()
    if not text:
        raise ValueError("is empty")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8") from None
    return text


def _instructions(value: str) -> str:
    """A text, or what is in the file that it names."""
    text = _text(value)
    if text.startswith(_FILE):
        text = _text(_content(text.removeprefix(_FILE).strip()))
    if len(text) > INSTRUCTIONS_MAX_CHARS:
        raise ValueError(f"has {len(text):,} characters; the limit is {INSTRUCTIONS_MAX_CHARS:,}")
    return text


def _content(name: str) -> str:
    """The text of a file of the app."""
    try:
        path = (APP_ROOT / name).resolve()
        if not path.is_relative_to(APP_ROOT):
            raise ValueError("must name a file below the folder of function_app.py")
        if not path.is_file():
            raise ValueError("names no file: its path begins at the folder of function_app.py")
        with path.open("rb") as file:
            # A character has up to 4 bytes.
            content = file.read(4 * INSTRUCTIONS_MAX_CHARS + 1)
    except OSError as error:
        raise ValueError(f"names a file that cannot be read ({error.strerror})") from None
    if len(content) > 4 * INSTRUCTIONS_MAX_CHARS:
        raise ValueError(f"names a file of more than {INSTRUCTIONS_MAX_CHARS:,} characters")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("names a file that is not UTF-8") from None


def _title(value: str) -> str:
    title = _text(value)
    if len(title) > TITLE_MAX_CHARS or not title.isprintable():
        raise ValueError(f"must be one line of up to {TITLE_MAX_CHARS} characters")
    return title


def _examples(value: object) -> object:
    """Questions, from a JSON list of texts or one on each line."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            listed = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("begins with [ and is not JSON") from None
    else:
        listed = [line for line in value.splitlines() if line.strip()]
    if len(listed) > EXAMPLES_MAX or not all(isinstance(each, str) for each in listed):
        raise ValueError(f"must be up to {EXAMPLES_MAX} texts: a JSON list, or one on each line")
    return tuple(_example(number, each) for number, each in enumerate(listed, 1))


def _example(number: int, value: str) -> str:
    try:
        question = _text(value)
    except ValueError as error:
        raise ValueError(f"question {number} {error}") from None
    if len(question) > EXAMPLE_MAX_CHARS:
        raise ValueError(f"question {number} has more than {EXAMPLE_MAX_CHARS:,} characters")
    return question


Endpoint = Annotated[str, AfterValidator(_secure)]
ConnectionString = Annotated[str, AfterValidator(_secure_endpoints)]
Vision = Literal["none", "questions", "figures"]
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]


class StartSettings(BaseSettings):
    """The settings that the routes need before any client is opened: wrong, the app does not start.

    They say who may come in, and what makes the agent its owner's own.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    # infra/ sets it beside the platform's own switch: callers sign in, and need no function key.
    sign_in_required: bool = False
    # App Service Authentication's own setting: callers are who its headers say they are.
    website_auth_enabled: bool = False

    # Read by the model after the built-in ones: a text, or file: and a path from APP_ROOT on.
    agent_instructions: Annotated[str, AfterValidator(_instructions)] | None = None
    # What the chat page is called, and what it proposes to ask. Anybody may read them.
    agent_title: Annotated[str, AfterValidator(_title)] | None = None
    agent_examples: Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(_examples)] = None

    @classmethod
    def load(cls) -> Self:
        """The settings of this process.

        Raises:
            SettingsError: sign-in is required and the platform does not see to it. Its headers
                would then be the caller's own words.
        """
        settings = load_settings(cls)
        if settings.sign_in_required and not settings.website_auth_enabled:
            raise SettingsError(
                "SIGN_IN_REQUIRED is true, but WEBSITE_AUTH_ENABLED is not: nothing would check "
                "who callers are. Turn on App Service Authentication, or remove SIGN_IN_REQUIRED."
            )
        return settings


class Settings(StartSettings):
    """The app settings. An empty value counts as not set."""

    azure_openai_endpoint: Endpoint
    azure_openai_chat_deployment_name: str
    # A dated version of the data plane, or v1 for its versionless path.
    # https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle
    azure_openai_api_version: str = Field(
        default="2024-10-21", pattern=r"^(v1|\d{4}-\d{2}-\d{2}(-preview)?)$"
    )
    # What the deployment's model is asked for; not set is not sent. A model that takes function
    # tools without reasoning only needs `none`.
    azure_openai_reasoning_effort: ReasoningEffort | None = None
    azure_openai_temperature: float | None = Field(default=None, ge=0, le=2)
    azure_openai_max_completion_tokens: int | None = Field(default=None, ge=16, le=1_000_000)

    # Whether the model can see: pictures in questions, and also the figures that its code made.
    azure_openai_vision: Vision = "none"

    # From where pictures of questions may be fetched, and the tool fetch_open_data may get files.
    # agent.runtime checks it where it is set: names take a library for URLs, 10 ms of a cold start.
    open_data_hosts: str | None = None

    # Without it the agent answers without a code interpreter.
    pool_management_endpoint: Endpoint | None = None

    # Ask the pool for all that a cell shows, not only the last figure or value. A pool that refuses
    # is asked without; false is for one that takes the flag and then answers something unreadable.
    pool_jupyter_format: bool = True

    # Whose session is allocated while the model still thinks: that of conversations whose code ran
    # in one before, every turn's, nobody's. A session is paid by the hour, also one without code.
    session_warm_up: Literal["never", "conversations", "always"] = "conversations"

    # Client id of the user-assigned managed identity; without it the system-assigned one.
    azure_client_id: str | None = None

    # Azure's load balancer cuts an HTTP call that is silent for 230 s:
    # https://learn.microsoft.com/azure/azure-functions/functions-scale#timeout
    turn_timeout_seconds: float = Field(default=210, ge=5, le=225)
    tool_rounds: int = Field(default=8, ge=1, le=50)

    input_max_chars: int = Field(default=100_000, ge=1, le=2_000_000)
    # What one execution may print, in stdout and in stderr, before the pool cuts it.
    execution_output_max_chars: int = Field(default=100_000, ge=1_000, le=10_000_000)
    # What the model reads of it: head and tail.
    model_output_max_chars: int = Field(default=16_000, ge=200, le=1_000_000)

    # Where conversations are kept: https://<account>.blob.core.windows.net/<container>, or
    # file:<folder>. Without it every turn is stateless.
    conversations_url: str | None = Field(default=None, pattern="^(https://.|file:.)")
    # How much of a conversation the model reads again; about a quarter as many tokens.
    conversation_max_chars: int = Field(default=200_000, ge=1_000, le=4_000_000)

    # Log questions, code and outputs: for a developer's own machine.
    log_content: bool = False

    # Where spans and metrics go: Application Insights, by the app's identity, and a collector that
    # takes OTLP over HTTP. Neither set: nothing is recorded.
    applicationinsights_connection_string: ConnectionString | None = None
    otel_exporter_otlp_endpoint: str | None = Field(default=None, pattern="^https?://.")
    # Put questions, code, outputs and answers on spans; the switch of the GenAI conventions.
    otel_instrumentation_genai_capture_message_content: str | None = None
    # App Service's own setting: names the app in its telemetry, where OTEL_SERVICE_NAME does not.
    website_site_name: str | None = None

    @property
    def records_content(self) -> bool:
        """Whether spans carry what people asked and what the model wrote."""
        switch = self.otel_instrumentation_genai_capture_message_content or ""
        return switch.lower() in {"true", "span_only", "span_and_event"}

    @classmethod
    def load(cls) -> Self:
        """The settings of this process.

        Raises:
            SettingsError: names every setting that is missing or wrong, without its value.
        """
        return load_settings(cls)


def load_settings[T: BaseSettings](settings: type[T]) -> T:
    """The settings of a class, from the environment.

    Raises:
        SettingsError: names every setting that is missing or wrong, without its value.
    """
    try:
        return settings()
    except ValidationError as error:
        faults = [f"{_name_of(e['loc'])}: {_plain(e['msg'])}" for e in error.errors()]
        raise SettingsError("Invalid app settings: " + "; ".join(faults) + ".") from None


def _name_of(loc: tuple[int | str, ...]) -> str:
    return str(loc[0]).upper() if loc else "the settings together"


def _plain(message: str) -> str:
    return {"Field required": "is missing"}.get(message, message.removeprefix("Value error, "))
