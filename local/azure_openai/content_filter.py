"""The annotations of Azure's content filter on every prompt and every answer.

https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter-annotations
"""

from typing import Any, Final

_SAFE: Final = {"filtered": False, "severity": "safe"}
_SEVERITIES: Final = {"hate": _SAFE, "self_harm": _SAFE, "sexual": _SAFE, "violence": _SAFE}

PROMPT_SAFE: Final[dict[str, Any]] = {
    **_SEVERITIES,
    "jailbreak": {"filtered": False, "detected": False},
}
PROMPT_FILTERED: Final[dict[str, Any]] = {
    **_SEVERITIES,
    "jailbreak": {"filtered": True, "detected": True},
}
ANSWER_SAFE: Final[dict[str, Any]] = {**_SEVERITIES}
ANSWER_FILTERED: Final[dict[str, Any]] = {
    **_SEVERITIES,
    "violence": {"filtered": True, "severity": "high"},
}
PROMPT_RESULTS: Final[list[dict[str, Any]]] = [
    {"prompt_index": 0, "content_filter_results": PROMPT_SAFE}
]
