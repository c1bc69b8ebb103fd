"""Spans as items for Application Insights, in JSON at once.

The library's models take 0.45 ms of CPU for each span; these take a hundredth of that: what all
spans of a heading have is written once. They also keep `error.type`, which the library leaves out
of a span, and know a model call by `gen_ai.provider.name`.

https://learn.microsoft.com/azure/azure-monitor/app/data-model-complete
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Final

from opentelemetry.trace import SpanKind
from pydantic_core import to_json

from agent.telemetry.calls import HTTPS_PORT
from agent.telemetry.recording import Attribute, Attributes, Heading
from agent.telemetry.tracing import Span

# What an item of a call over HTTP says elsewhere is no property too: the workspace costs money by
# its size.
_ELSEWHERE: Final = frozenset(
    {
        "http.request.method",
        "http.response.status_code",
        "server.address",
        "server.port",
        "url.full",
        "url.template",
    }
)
# A text as JSON has it, with its quotation marks; half a character too, which a model may write.
_quoted: Final[Callable[[str], str]] = encode_basestring_ascii


class Items:
    """Makes items.

    Args:
        key: the instrumentation key, which says whose resource they are for.
        tags: what all spans of the process have.
    """

    def __init__(self, key: str, tags: Mapping[str, str]) -> None:
        head = {"name": "Microsoft.ApplicationInsights.RemoteDependency", "iKey": key, "tags": tags}
        # Open, for what a span adds to the tags.
        self._head = to_json(head).decode().removesuffix("}}") + ("," if tags else "")

    def item_of(self, span: Span) -> str:
        """A span that has ended, without events and links, as a dependency."""
        heading, trace = span.heading, span.trace
        if heading.written is None:
            heading.written = _written(heading)
        name, data, of_all = heading.written
        code = span.facts.get("http.response.status_code", 0)
        properties = f"{of_all}{_properties(span.facts)}"[1:]
        began_ns = trace.epoch_ns + span.began_ns
        above = f'","ai.operation.parentId":"{span.above:016x}' if span.above else ""
        return (
            f'{self._head}{name}{trace.id}{above}"}},"time":"{_time(began_ns)}",'
            f'{data}{span.number:016x}","duration":"{_duration(span.ended_ns - span.began_ns)}",'
            f'"resultCode":"{code}","success":{"false" if span.failed else "true"},'
            f'"properties":{{{properties}}}}}}}}}'
        )


def _written(heading: Heading) -> tuple[str, str, str]:
    """What all spans of it have: before the trace's id, before the span's, its properties."""
    facts, name = heading.attributes, _quoted(heading.name)
    target, url = facts.get("server.address", ""), facts.get("url.full", "")
    if facts.get("server.port", HTTPS_PORT) != HTTPS_PORT:
        target = f"{target}:{facts['server.port']}"
    return (
        f'"ai.operation.name":{name},"ai.operation.id":"',
        f'"data":{{"baseType":"RemoteDependencyData","baseData":{{"ver":2,"name":{name},'
        f'"type":{_quoted(_type(heading))},"target":{_quoted(str(target))},'
        f'"data":{_quoted(str(url))},"id":"',
        _properties(facts),
    )


def _properties(attributes: Attributes) -> str:
    """Each with a comma before it."""
    pairs = [
        f",{_quoted(name)}:{_quoted(value if isinstance(value, str) else _text(value))}"
        for name, value in attributes.items()
        if name not in _ELSEWHERE
    ]
    return "".join(pairs)


def _text(value: Attribute) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _time(ns: int) -> str:
    seconds, ns = divmod(ns, 1_000_000_000)
    return f"{_second(seconds)}.{ns // 1000:06}Z"


@lru_cache(maxsize=4)  # spans of a turn begin in the same one
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()


def _type(heading: Heading) -> str:
    if heading.kind is not SpanKind.CLIENT:
        return "InProc"
    provider = heading.attributes.get("gen_ai.provider.name")
    return f"GenAI | {provider}" if provider else "HTTP"


def _duration(ns: int) -> str:
    """As `d.hh:mm:ss.ffffff`."""
    seconds, us = divmod(ns // 1000, 1_000_000)
    if seconds < 60:
        return f"0.00:00:{seconds:02}.{us:06}"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}.{hours:02}:{minutes:02}:{seconds:02}.{us:06}"
