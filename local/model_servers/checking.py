"""Can the model call tools, and has it room for them? Asked of the server itself, once."""

import asyncio
import re
from typing import Any, Final

from local.azure_openai import ModelRefused, Relay
from local.model_servers.finding import Found, find

# A model that has to be loaded first, on a laptop without a GPU.
TIMEOUT_S: Final = 120
# Instructions, tools, the outputs of some executions and an answer.
ROOMY_TOKENS: Final = 8192
_WIDER_TOKENS: Final = 16384
_MAX_TOKENS: Final = 512
# A call as models write it where nobody reads it: in JSON or XML, or as Python.
_WRITTEN: Final = re.compile(r"""["'=<]multiply\b|\bmultiply\((?:a\s*=|\s*1234)""")
_REQUEST: Final[dict[str, Any]] = {
    "messages": [
        {"role": "system", "content": "Use the tool for all arithmetic."},
        {"role": "user", "content": "What is 1234 * 5678?"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "multiply",
                "description": "Multiplies two numbers.",
                "parameters": {
                    "type": "object",
                    "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
                    "required": ["a", "b"],
                },
            },
        }
    ],
    "tool_choice": "auto",
    "temperature": 0,
    "max_tokens": _MAX_TOKENS,
}


async def check(relay: Relay, found: Found | None) -> list[str]:
    """What to know about the model, in sentences: whether it calls tools, and a short context.

    Args:
        relay: to the model.
        found: its server; None where that lists no models.
    """
    said = [await _tools(relay, found)]
    if found and (again := await find(found.url, relay.key)):
        # A model has its context once it is loaded, which the question above has done.
        here = next((m.context_tokens for m in again.models if m.name == relay.name), None)
        if here and here < ROOMY_TOKENS:
            said.append(_narrow(relay, found, here))
    return said


async def _tools(relay: Relay, found: Found | None) -> str:
    unthinking = dict(found.kind.unthinking) if found else {}
    try:
        async with asyncio.timeout(TIMEOUT_S):
            answer = await relay.ask({**_REQUEST, **unthinking})
    except TimeoutError:
        return f"{relay.name} did not answer in {TIMEOUT_S} s: whether it calls tools is not known."
    except ModelRefused as error:
        return f"{relay.name} did not take a question with a tool: {error}"
    match answer.get("choices"):
        case [{"message": {"tool_calls": [{"function": {"name": "multiply"}}, *_]}}, *_]:
            return f"{relay.name} calls tools."
        case [{"finish_reason": "length"}, *_]:
            return (
                f"{relay.name} talked for {_MAX_TOKENS} tokens and called no tool when one was"
                " needed: answers may be guesses."
            )
        case [{"message": {"content": str(text)}}, *_] if _WRITTEN.search(text):
            return (
                f"{relay.name} writes its calls of tools as text, which its server does not take"
                " for calls: its answers will be guesses. Start the server with the parser of this"
                " model's calls, or take another model."
            )
    return f"{relay.name} does not call tools: its answers will be guesses."


def _narrow(relay: Relay, found: Found, tokens: int) -> str:
    return (
        f"{relay.name} has a context of {tokens:,} tokens, which a conversation with code and its"
        " outputs fills soon; a longer one is refused or loses its beginning. Widen it: "
        + found.kind.widen.format(model=relay.name, tokens=_WIDER_TOKENS)
    )
