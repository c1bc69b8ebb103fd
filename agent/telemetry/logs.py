"""Logs, and the one place that decides what of a turn's content is recorded.

Logs say what happened, to which turn, how long it took and with which error code. What people
asked, what the model wrote and what the code printed is logged only where the operator set
LOG_CONTENT, put on spans only where the operator set the conventions' own switch
(OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT), and only through `log_content`.
"""

import json
import logging
from typing import Final, Literal

from agent.telemetry.recording import annotate, takes_content

logger = logging.getLogger("agent")

type Content = Literal["question", "code", "output", "arguments", "result", "answer"]

# Each of these writes prompts, code or session identifiers (in URLs) at INFO or below.
_TALKATIVE = ("azure", "httpcore", "httpx", "httpcore2", "httpx2", "openai", "semantic_kernel")
# Each of these says again, in many lines or with a caller's own words, what the agent says.
_REPETITIVE = ("azure.identity", "opentelemetry", "semantic_kernel")
_MAX_CHARS: Final = 4000

_content_logger = logging.getLogger("agent.content")


def configure_logging(*, content: bool) -> None:
    """Set the levels; called once per worker.

    Args:
        content: log questions, code and outputs too (LOG_CONTENT).
    """
    logger.setLevel(logging.INFO)
    _content_logger.setLevel(logging.INFO)
    _content_logger.disabled = not content
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _REPETITIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # The host logs each request; the worker's own server would print one more line, with its query.
    logging.getLogger("uvicorn.access").disabled = True


def log_content(kind: Content, text: str, *, finish_reason: str = "error") -> None:
    """Record something private, if the operator wants that: in the log, on the current span.

    Args:
        kind: of the text.
        text: cut at 4,000 characters.
        finish_reason: of an answer.
    """
    if _content_logger.disabled and not takes_content():
        return
    text = text[:_MAX_CHARS]
    _content_logger.info("%s: %s", kind, text)
    if takes_content():
        annotate(lambda: _as_attribute(kind, text, finish_reason))


def _as_attribute(kind: Content, text: str, finish_reason: str) -> dict[str, str]:
    """The attribute that the conventions have for it, with its value in JSON."""
    match kind:
        case "question":
            return {"gen_ai.input.messages": _message("user", text)}
        case "answer":
            message = _message("assistant", text, finish_reason=finish_reason)
            return {"gen_ai.output.messages": message}
        case "code":
            return {"gen_ai.tool.call.arguments": json.dumps({"code": text})}
        case "arguments":
            return {"gen_ai.tool.call.arguments": text}
        case "output" | "result":
            return {"gen_ai.tool.call.result": json.dumps(text)}


def _message(role: str, text: str, **more: str) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}], **more}])
