"""App settings: read once, refused by name."""

import os
import runpy
from pathlib import Path

import pytest

from agent.errors import SettingsError
from agent.settings import INSTRUCTIONS_MAX_CHARS, Settings, StartSettings
from tests.support import PROJECT

NEEDED = {
    "AZURE_OPENAI_ENDPOINT": "https://example.openai.azure.com/",
    "AZURE_OPENAI_CHAT_DEPLOYMENT_NAME": "gpt",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_two_settings_are_enough(environment: pytest.MonkeyPatch) -> None:
    settings = Settings.load()
    assert settings.azure_openai_endpoint == "https://example.openai.azure.com"
    assert settings.pool_management_endpoint is None
    assert settings.turn_timeout_seconds == 210


def test_an_empty_setting_counts_as_not_set(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("POOL_MANAGEMENT_ENDPOINT", "")
    environment.setenv("AZURE_CLIENT_ID", "")
    settings = Settings.load()
    assert settings.pool_management_endpoint is None
    assert settings.azure_client_id is None


def test_everything_that_is_wrong_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("AZURE_OPENAI_CHAT_DEPLOYMENT_NAME")
    environment.setenv("TURN_TIMEOUT_SECONDS", "600")
    environment.setenv("POOL_MANAGEMENT_ENDPOINT", "http://pool.example/secret-path")
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    detail = refused.value.detail
    assert "AZURE_OPENAI_CHAT_DEPLOYMENT_NAME: is missing" in detail
    assert "TURN_TIMEOUT_SECONDS: Input should be less than or equal to 225" in detail
    assert "POOL_MANAGEMENT_ENDPOINT: must be an https:// address" in detail
    assert "secret-path" not in detail


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://example.openai.azure.com",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://user@127.0.0.1",
        "https://example.com/?x=1",
        "ftp://127.0.0.1",
        "example.openai.azure.com",
        "https://",
    ],
)
def test_tokens_go_only_to_https_or_this_machine(
    environment: pytest.MonkeyPatch, endpoint: str
) -> None:
    environment.setenv("AZURE_OPENAI_ENDPOINT", endpoint)
    with pytest.raises(SettingsError, match="AZURE_OPENAI_ENDPOINT"):
        Settings.load()


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:7081", "http://localhost:7081", "http://[::1]:7081"]
)
def test_loopback_needs_no_tls(environment: pytest.MonkeyPatch, endpoint: str) -> None:
    environment.setenv("AZURE_OPENAI_ENDPOINT", endpoint)
    assert Settings.load().azure_openai_endpoint == endpoint


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        (
            "AZURE_OPENAI_API_VERSION",
            ["v1", "2024-10-21", "2025-04-01-preview"],
            ["v2", "1", "v1/.."],
        ),
        ("AZURE_OPENAI_REASONING_EFFORT", ["none", "minimal", "xhigh"], ["some", "0"]),
        ("AZURE_OPENAI_TEMPERATURE", ["0", "0.2", "2"], ["2.1", "-1", "warm", "nan"]),
        ("AZURE_OPENAI_MAX_COMPLETION_TOKENS", ["16", "4096"], ["0", "1.5", "many"]),
        ("SESSION_WARM_UP", ["never", "conversations", "always"], ["true", "Always"]),
    ],
)
def test_what_is_one_of_some_values_is_checked(
    environment: pytest.MonkeyPatch, name: str, right: list[str], wrong: list[str]
) -> None:
    for value in right:
        environment.setenv(name, value)
        assert str(getattr(Settings.load(), name.lower())) in (value, f"{value}.0")
    for value in wrong:
        environment.setenv(name, value)
        with pytest.raises(SettingsError, match=name):
            Settings.load()


@pytest.mark.parametrize(
    "endpoint", ["https://x.in.applicationinsights.azure.com/", "http://127.0.0.1:7084/"]
)
def test_a_connection_string_of_application_insights_is_taken(
    environment: pytest.MonkeyPatch, endpoint: str
) -> None:
    value = f"InstrumentationKey={'0' * 8}-0000-0000-0000-{'0' * 12};IngestionEndpoint={endpoint}"
    environment.setenv("APPLICATIONINSIGHTS_CONNECTION_STRING", value)
    assert Settings.load().applicationinsights_connection_string == value


@pytest.mark.parametrize(
    "value",
    [
        "InstrumentationKey=k;IngestionEndpoint=http://example.com/",
        "instrumentationkey=k;INGESTIONENDPOINT=http://example.com/",
        "InstrumentationKey=k; IngestionEndpoint =http://example.com/",
        "InstrumentationKey=k;LiveEndpoint=http://user@127.0.0.1/",
        "IngestionEndpoint=https://example.com/",
        "k",
    ],
)
def test_its_tokens_go_only_to_https_or_this_machine(
    environment: pytest.MonkeyPatch, value: str
) -> None:
    environment.setenv("APPLICATIONINSIGHTS_CONNECTION_STRING", value)
    with pytest.raises(SettingsError, match="APPLICATIONINSIGHTS_CONNECTION_STRING") as refused:
        Settings.load()
    assert "example.com" not in refused.value.detail


@pytest.mark.parametrize(
    ("value", "records"),
    [
        ("true", True),
        ("SPAN_ONLY", True),
        ("span_and_event", True),
        ("event_only", False),
        ("no_content", False),
        ("false", False),
        ("", False),
    ],
)
def test_content_is_recorded_by_the_conventions_switch_alone(
    environment: pytest.MonkeyPatch, value: str, *, records: bool
) -> None:
    environment.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", value)
    assert Settings.load().records_content is records


@pytest.fixture
def app_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the app's, with files to name."""
    root = tmp_path / "app"
    (root / "folder").mkdir(parents=True)
    (root / "folder/own.md").write_text("\ufeff\nAnswer in rhymes. ö\n", "utf-8")
    (root / "blank.md").write_text(" \n")
    (root / "latin.md").write_bytes("ö".encode("latin-1"))
    (root / "long.md").write_text("x" * (INSTRUCTIONS_MAX_CHARS + 1))
    (root / "huge.md").write_bytes(bytes(5 * INSTRUCTIONS_MAX_CHARS))
    (root / "loop").symlink_to(root / "loop")
    (root / "way-out").symlink_to(tmp_path / "outside.md")
    (tmp_path / "outside.md").write_text("Not of the app.")
    os.mkfifo(root / "pipe")
    monkeypatch.setattr("agent.settings.APP_ROOT", root)
    return root


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Answer in rhymes.", "Answer in rhymes."),
        ("  Two\nlines\n", "Two\nlines"),
        ("x" * INSTRUCTIONS_MAX_CHARS, "x" * INSTRUCTIONS_MAX_CHARS),
        ("file:folder/own.md", "Answer in rhymes. ö"),
        ("file: ./folder/../folder/own.md ", "Answer in rhymes. ö"),
        ("profile: a text", "profile: a text"),
    ],
)
def test_instructions_are_a_text_or_a_file_of_the_app(
    environment: pytest.MonkeyPatch, app_root: Path, value: str, text: str
) -> None:
    environment.setenv("AGENT_INSTRUCTIONS", value)
    assert Settings.load().agent_instructions == text
    assert StartSettings.load().agent_instructions == text


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("AGENT_INSTRUCTIONS", "  ", "is empty"),
        ("AGENT_INSTRUCTIONS", "\udcff", "is not UTF-8"),
        ("AGENT_INSTRUCTIONS", "x" * (INSTRUCTIONS_MAX_CHARS + 1), "has 20,001 characters"),
        ("AGENT_INSTRUCTIONS", "file:", "names no file"),
        ("AGENT_INSTRUCTIONS", "file:folder", "names no file"),
        ("AGENT_INSTRUCTIONS", "file:missing.md", "names no file: its path begins at"),
        ("AGENT_INSTRUCTIONS", "file:folder/own.md/x", "names no file"),
        ("AGENT_INSTRUCTIONS", "file:loop", "names no file"),
        ("AGENT_INSTRUCTIONS", "file:pipe", "names no file"),
        ("AGENT_INSTRUCTIONS", "file:" + "x" * 300, "cannot be read (File name too long)"),
        ("AGENT_INSTRUCTIONS", "file:blank.md", "is empty"),
        ("AGENT_INSTRUCTIONS", "file:latin.md", "a file that is not UTF-8"),
        ("AGENT_INSTRUCTIONS", "file:long.md", "has 20,001 characters; the limit is 20,000"),
        ("AGENT_INSTRUCTIONS", "file:huge.md", "a file of more than 20,000 characters"),
        ("AGENT_INSTRUCTIONS", "file:../outside.md", "must name a file below the folder"),
        ("AGENT_INSTRUCTIONS", "file:way-out", "must name a file below the folder"),
        ("AGENT_INSTRUCTIONS", "file:/etc/hostname", "must name a file below the folder"),
        ("AGENT_TITLE", " ", "is empty"),
        ("AGENT_TITLE", "two\nlines", "must be one line of up to 80 characters"),
        ("AGENT_TITLE", "\u202egpj.exe", "must be one line"),
        ("AGENT_TITLE", "x" * 81, "must be one line of up to 80 characters"),
        ("AGENT_TITLE", "\udcff", "is not UTF-8"),
        ("AGENT_EXAMPLES", "[", "begins with [ and is not JSON"),
        ("AGENT_EXAMPLES", "[" * 100_000, "begins with [ and is not JSON"),
        ("AGENT_EXAMPLES", '["a"] ["b"]', "begins with [ and is not JSON"),
        ("AGENT_EXAMPLES", '["a", 1]', "must be up to 12 texts"),
        ("AGENT_EXAMPLES", '[["a"]]', "must be up to 12 texts"),
        ("AGENT_EXAMPLES", "\n".join("x" * 13), "must be up to 12 texts"),
        ("AGENT_EXAMPLES", '["a", " "]', "question 2 is empty"),
        ("AGENT_EXAMPLES", '["a", "\\udc00"]', "question 2 is not UTF-8"),
        ("AGENT_EXAMPLES", "a\n" + "x" * 2_001, "question 2 has more than 2,000 characters"),
    ],
)
def test_what_makes_an_agent_its_own_is_checked_before_the_app_starts(
    environment: pytest.MonkeyPatch, app_root: Path, name: str, value: str, why: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        # What the Functions worker does first; the file itself, since tests have loaded it.
        runpy.run_path(str(PROJECT / "function_app.py"))
    assert f"{name}: " in refused.value.detail
    assert why in refused.value.detail
    with pytest.raises(SettingsError, match=name):
        Settings.load()


@pytest.mark.parametrize(
    ("value", "questions"),
    [
        ("What is 1 + 1?", ("What is 1 + 1?",)),
        ("One?\r\n\n  Two?\n", ("One?", "Two?")),
        ('["One?", "Run this:\\nprint(1)"]', ("One?", "Run this:\nprint(1)")),
        (' ["ö"] ', ("ö",)),
        ("[]", ()),
        ("", None),
    ],
)
def test_examples_are_lines_or_a_json_list(
    environment: pytest.MonkeyPatch, value: str, questions: tuple[str, ...] | None
) -> None:
    environment.setenv("AGENT_EXAMPLES", value)
    assert Settings.load().agent_examples == questions
