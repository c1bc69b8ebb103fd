"""The model that LOCAL_MODEL asks for, ready to answer."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from local.azure_openai import Relay
from local.azure_openai.relay import MAX_TOKENS
from local.model_servers.checking import check
from local.model_servers.errors import ModelServerError
from local.model_servers.finding import Found, find
from local.model_servers.llama_server import llama_server
from local.model_servers.naming import read_wish


@dataclass(frozen=True)
class OpenModel:
    """A model that answers in place of the stand-in.

    Attributes:
        relay: to it.
        found: its server; None where that lists no models.
    """

    relay: Relay
    found: Found | None

    def __str__(self) -> str:
        """Who answers, and where."""
        by = f", by {self.found.kind.title}" if self.found and self.found.kind.name else ""
        return f"{self.relay.name}{by} at {self.relay.url}"

    async def check(self) -> list[str]:
        """What to know about it, in sentences; takes as long as a short answer."""
        return await check(self.relay, self.found)


@contextlib.asynccontextmanager
async def open_model(
    settings: Mapping[str, str], say: Callable[[str], None]
) -> AsyncIterator[OpenModel | None]:
    """Find or start what the settings ask for; None is the stand-in.

    Args:
        settings: LOCAL_MODEL and those beside it; the environment of a server that is started.
        say: tells the developer what happens meanwhile.

    Raises:
        ModelServerError: it is not there, or a setting is wrong; the message names it.
    """
    # LOCAL_MODEL_URL is what LOCAL_MODEL was called when it took a URL alone.
    value = settings.get("LOCAL_MODEL") or settings.get("LOCAL_MODEL_URL", "")
    if not value:
        yield None
        return
    wish = read_wish(value, settings.get("LOCAL_MODEL_NAME", ""))
    max_tokens = _max_tokens(settings.get("LOCAL_MODEL_MAX_TOKENS") or str(MAX_TOKENS))
    key = settings.get("LOCAL_MODEL_KEY") or None
    async with contextlib.AsyncExitStack() as started:
        url = wish.url
        if wish.file:
            key = None
            url = await started.enter_async_context(llama_server(wish.file, settings, say))
        found = await find(url, key)
        if found:
            model = found.choose(wish.model)
            relay = Relay(found.url, model.name, key, max_tokens, model.context_tokens)
        elif wish.model and not wish.kind:
            # It may be started later, or list nothing.
            relay = Relay(url, wish.model, key, max_tokens)
        elif wish.kind:
            raise ModelServerError(
                f"{wish.kind.title} does not answer at {url}: {wish.kind.start}."
            )
        else:
            raise ModelServerError(
                f"No list of models at {url}: start the server, correct LOCAL_MODEL, or say in"
                " LOCAL_MODEL_NAME which model answers."
            )
        yield OpenModel(relay, found)


def _max_tokens(tokens: str) -> int:
    if not (tokens.isascii() and tokens.isdigit() and len(tokens) < 8):
        raise ModelServerError(
            f"LOCAL_MODEL_MAX_TOKENS must be a number of tokens, or 0 for no bound, not {tokens!r}"
        )
    return int(tokens)
