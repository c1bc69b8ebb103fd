"""The clients of one worker: when they can be used."""

from pathlib import Path

import pytest

from agent.runtime import RuntimeState, trusting_tls
from tests.conftest import OpenRuntime

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_clients_can_be_used_while_the_runtime_is_open(open_runtime: OpenRuntime) -> None:
    runtime = open_runtime(conversations_url="file:.local/unused")
    with pytest.raises(RuntimeError, match="<Runtime unopened> has no clients"):
        _ = runtime.turns
    async with runtime:
        assert runtime.state is RuntimeState.OPENED
        assert runtime.turns.sessions is not None
    with pytest.raises(RuntimeError, match="<Runtime closed> has no clients"):
        _ = runtime.turns
    with pytest.raises(RuntimeError, match="<Runtime closed> has no clients"):
        await runtime.conversations()


async def test_a_runtime_is_opened_once(open_runtime: OpenRuntime) -> None:
    runtime = open_runtime()
    async with runtime:
        with pytest.raises(RuntimeError, match="<Runtime opened> cannot be opened again"):
            await runtime.__aenter__()


async def test_on_a_machine_without_authorities_those_of_certifi_are_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    found = trusting_tls().get_ca_certs()
    assert any("ISRG Root X1" in str(authority["subject"]) for authority in found)


async def test_no_authority_is_added_to_those_that_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(empty))
    assert trusting_tls().get_ca_certs() == []


async def test_a_variable_of_the_telemetry_sdk_that_is_wrong_keeps_nobody_from_an_answer(
    open_runtime: OpenRuntime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many")
    async with open_runtime(otel_exporter_otlp_endpoint="http://127.0.0.1:9") as runtime:
        assert runtime.turns.sessions is not None
    assert "telemetry: an OTEL_* variable is wrong: ValueError" in caplog.text
    assert "many" not in caplog.text
