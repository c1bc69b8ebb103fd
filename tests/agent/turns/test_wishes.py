"""What a caller asks of the model goes to the model, where it takes it."""

import pytest

from agent.events import TurnFailed
from agent.model.parameters import ModelParameters
from agent.turns.turn import TurnRequest, stateless_turn
from tests.conftest import OpenRuntime
from tests.support.raw_server import raw_server, response
from tests.support.turns import collect

pytestmark = pytest.mark.asyncio(loop_scope="session")

ANSWER = response(
    {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi."},
                "finish_reason": "stop",
            }
        ],
    }
)
WISHES = ModelParameters(temperature=0.2, seed=7)


def refusal(parameter: str, code: str, message: str) -> bytes:
    error = {"message": message, "type": "invalid_request_error", "param": parameter, "code": code}
    return response({"error": error}, status=400)


UNSUPPORTED = refusal(
    "temperature",
    "unsupported_value",
    "Unsupported value: 'temperature' does not support 0.2 with this model.",
)


async def test_what_the_model_does_not_take_is_left_out_with_a_warning(
    open_runtime: OpenRuntime,
) -> None:
    request = TurnRequest("Hi", parameters=WISHES)
    async with (
        raw_server(UNSUPPORTED, ANSWER) as server,
        open_runtime(azure_openai_endpoint=server.url) as runtime,
    ):
        turn = (await collect(stateless_turn(runtime.turns, request))).finished
        again = (await collect(stateless_turn(runtime.turns, request))).finished
        plain = (await collect(stateless_turn(runtime.turns, TurnRequest("Hi")))).finished
    assert turn.output == again.output == plain.output == "Hi."
    refused, *sent = server.bodies
    assert refused["temperature"] == 0.2
    # It is not tried again with each turn.
    assert [("temperature" in body, body.get("seed")) for body in sent] == [
        (False, 7),
        (False, 7),
        (False, None),
    ]
    assert [w.code for w in turn.warnings] == [w.code for w in again.warnings]
    assert [w.code for w in turn.warnings] == ["ParameterNotTaken"]
    assert "`temperature`" in turn.warnings[0].message
    assert plain.warnings == ()


async def test_a_setting_that_the_model_does_not_take_is_an_error(
    open_runtime: OpenRuntime,
) -> None:
    async with (
        raw_server(UNSUPPORTED) as server,
        open_runtime(azure_openai_endpoint=server.url, azure_openai_temperature=0.2) as runtime,
    ):
        for parameters in (ModelParameters(), WISHES):
            request = TurnRequest("Hi", parameters=parameters)
            last = (await collect(stateless_turn(runtime.turns, request))).events[-1]
            assert isinstance(last, TurnFailed)
            assert "AZURE_OPENAI_TEMPERATURE" in last.error.detail


async def test_a_wrong_value_is_an_error_and_the_next_one_is_sent(
    open_runtime: OpenRuntime,
) -> None:
    wrong = refusal("seed", "invalid_value", "Invalid 'seed': integer above maximum value.")
    request = TurnRequest("Hi", parameters=WISHES)
    async with (
        raw_server(wrong, ANSWER) as server,
        open_runtime(azure_openai_endpoint=server.url) as runtime,
    ):
        failed = (await collect(stateless_turn(runtime.turns, request))).events[-1]
        assert isinstance(failed, TurnFailed)
        await collect(stateless_turn(runtime.turns, request))
    assert [body["seed"] for body in server.bodies] == [7, 7]
