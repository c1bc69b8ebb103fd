"""LOCAL_MODEL: which model does a developer mean?"""

from dataclasses import dataclass
from pathlib import Path

from local.model_servers.errors import ModelServerError
from local.model_servers.kinds import KINDS, Kind, kind_named


@dataclass(frozen=True)
class Wish:
    """A model that was asked for: at a server's usual port, at a URL, or in a file.

    Attributes:
        kind: of the server, where it was named.
        url: of the server; empty for a file.
        file: the model's own, for llama-server.
        model: its name; empty for the server's choice.
    """

    kind: Kind | None = None
    url: str = ""
    file: Path | None = None
    model: str = ""


def read_wish(value: str, model: str = "") -> Wish:
    """What LOCAL_MODEL and LOCAL_MODEL_NAME ask for.

    Args:
        value: `ollama`, `ollama:qwen3:4b`, a URL, or the path of a GGUF file.
        model: its name, where `value` has none.

    Raises:
        ModelServerError: nothing of that kind is known.
    """
    if value.startswith(("http://", "https://")):
        return Wish(url=value, model=model)
    name, _, named = value.partition(":")
    if kind := kind_named(name):
        return Wish(kind, f"http://127.0.0.1:{kind.port}/v1", model=named or model)
    if "://" not in value and (value.lower().endswith(".gguf") or "/" in value):
        return Wish(file=Path(value).expanduser().absolute(), model=model)
    names = ", ".join(kind.name for kind in KINDS)
    raise ModelServerError(
        f"LOCAL_MODEL must be one of {names} (also with a model: ollama:qwen3:4b), an http or"
        f" https URL such as http://127.0.0.1:11434/v1, or the path of a .gguf file, not {value!r}"
    )
