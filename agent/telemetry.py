"""Spans and logs, and the one place that decides what may be logged.

Logs say what happened, to which turn, how long it took and with which error code. What people
asked, what the model wrote and what the code printed is logged only where the operator set
LOG_CONTENT, and only through `log_content`.
"""

import logging

from opentelemetry import trace

logger = logging.getLogger("agent")
tracer = trace.get_tracer("agent")

# Each of these writes prompts, code or session identifiers (in URLs) at INFO or below.
_TALKATIVE = ("azure", "httpcore", "httpx", "httpcore2", "httpx2", "openai", "semantic_kernel")

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


def log_content(kind: str, text: str) -> None:
    """Log something private, if the operator wants that.

    Args:
        kind: `question`, `code`, `output` or `answer`.
        text: cut at 4,000 characters.
    """
    _content_logger.info("%s: %s", kind, text[:4000])
