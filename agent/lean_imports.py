"""Keeps the parts of Semantic Kernel and openai that the agent never uses out of the process.

`import semantic_kernel` compiles a Handlebars grammar, and its OpenAI connector loads WebRTC audio:
half of the CPU time of a cold start and 45 MB, for nothing that a chat turn touches. What is
imported inside `lean_imports()` gets stand-ins for these instead; a stand-in that is used after all
raises. tests/agent/test_lean_imports.py proves that a turn uses none. The models of openai's other
APIs are not loaded before somebody asks for them.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from agent.lazy_reexports import lazy_reexports

_SERVICES = "semantic_kernel.connectors.ai.open_ai.services"

UNUSED = {
    "pybars": ("Compiler", "PybarsError"),
    "numpy": ("array", "ndarray"),
    f"{_SERVICES}._open_ai_realtime": ("ListenEvents", "SendEvents"),
    f"{_SERVICES}.azure_realtime": ("AzureRealtimeWebRTC", "AzureRealtimeWebsocket"),
    f"{_SERVICES}.open_ai_realtime": ("OpenAIRealtimeWebRTC", "OpenAIRealtimeWebsocket"),
}


class Unused(Exception):
    """What every stand-in is: a class that refuses to be instantiated."""

    def __init__(self, *_: object, **__: object) -> None:
        raise NotImplementedError(f"{type(self).__name__} is not part of this app, see {__name__}")


@contextmanager
def lean_imports() -> Iterator[None]:
    """While the block runs, an import of an unused module finds a stand-in.

    Modules that are loaded already stay as they are, and the stand-ins leave `sys.modules` with
    the block, so everybody else gets the real ones.
    """
    stand_ins = {name: ModuleType(name) for name in UNUSED if name not in sys.modules}
    for name, module in stand_ins.items():
        vars(module).update({cls: type(cls, (Unused,), {}) for cls in UNUSED[name]})
    sys.modules.update(stand_ins)
    try:
        with lazy_reexports("openai.types"):
            yield
    finally:
        for name in stand_ins:
            del sys.modules[name]
