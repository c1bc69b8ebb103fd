"""All metrics of the app: the conventions' own, and those that this app alone has.

Their attributes have few values: operation, deployment, tool, outcome, code of an error.
"""

from typing import Final, Literal

from agent.frozen import frozen
from agent.telemetry.recording import Attribute

# Attributes, as a key.
type Of = tuple[tuple[str, Attribute], ...]

INFERENCE_DURATION: Final = "gen_ai.client.inference.duration"
INPUT_TOKENS: Final = "gen_ai.client.inference.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.client.inference.usage.output_tokens"
CACHED_TOKENS: Final = "gen_ai.client.inference.usage.cache_read.input_tokens"
REASONING_TOKENS: Final = "gen_ai.client.inference.usage.reasoning.output_tokens"
AGENT_DURATION: Final = "gen_ai.invoke_agent.duration"
AGENT_INFERENCE_CALLS: Final = "gen_ai.invoke_agent.inference_calls"
AGENT_TOOL_CALLS: Final = "gen_ai.invoke_agent.tool_calls"
TOOL_DURATION: Final = "gen_ai.execute_tool.duration"
TURNS: Final = "code_interpreter.turns"
CONVERSATIONS_BUSY: Final = "code_interpreter.conversations.busy"
SESSIONS_LOST: Final = "code_interpreter.sessions.lost"
RETRIES: Final = "code_interpreter.retries"
FILE_BYTES: Final = "code_interpreter.files.size"


@frozen
class Metric:
    """A metric.

    Attributes:
        kind: a counter adds values up, a histogram keeps how they are spread.
        unit: of its values, in UCUM.
        description: for people.
    """

    kind: Literal["counter", "histogram"]
    unit: str
    description: str


METRICS: Final = {
    INFERENCE_DURATION: Metric("histogram", "s", "Duration of a model call."),
    INPUT_TOKENS: Metric("counter", "{token}", "Tokens that the model read."),
    OUTPUT_TOKENS: Metric("counter", "{token}", "Tokens that the model wrote."),
    CACHED_TOKENS: Metric("counter", "{token}", "Of the tokens read, those from the cache."),
    REASONING_TOKENS: Metric("counter", "{token}", "Of the tokens written, those of reasoning."),
    AGENT_DURATION: Metric("histogram", "s", "Duration of a turn."),
    AGENT_INFERENCE_CALLS: Metric("histogram", "{inference_call}", "Model calls of a turn."),
    AGENT_TOOL_CALLS: Metric("histogram", "{tool_call}", "Tool calls of a turn."),
    TOOL_DURATION: Metric("histogram", "s", "Duration of a tool call."),
    TURNS: Metric("counter", "{turn}", "Turns, by outcome and code of the error."),
    CONVERSATIONS_BUSY: Metric("counter", "{turn}", "Turns refused: another one was running."),
    SESSIONS_LOST: Metric("counter", "{session}", "Sessions replaced by a new one in a turn."),
    RETRIES: Metric("counter", "{attempt}", "Calls that were tried again, by service."),
    FILE_BYTES: Metric("counter", "By", "Bytes of the files that turns made or callers uploaded."),
}
