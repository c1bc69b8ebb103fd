"""Keeps the parts of Semantic Kernel and openai that the agent never uses out of the process.

Imported as they are, they are two thirds of the CPU time of a cold start: Semantic Kernel
compiles a Handlebars grammar and loads WebRTC audio, openai loads the models of all its APIs. An
import inside `lean_imports()` loads only what it names (agent/lazy_reexports.py), and finds
stand-ins for the packages below; a stand-in that is used after all raises.
tests/agent/model/test_lean_imports.py proves that a turn uses none.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from agent.lazy_reexports import lazy_reexports

UNUSED = {
    "defusedxml": ("ElementTree",),
    "defusedxml.ElementTree": ("ParseError", "XML"),
    "jinja2": ("BaseLoader", "TemplateError"),
    "jinja2.sandbox": ("ImmutableSandboxedEnvironment",),
    "numpy": ("array", "ndarray"),
    "openai.lib.bedrock": ("AsyncBedrockOpenAI", "BedrockOpenAI"),
    "openai.lib._tools": ("pydantic_function_tool", "pydantic_responses_function_tool"),
    "openai.types.websocket_reconnection": ("ReconnectingEvent", "ReconnectingOverrides"),
    "pybars": ("Compiler", "PybarsError"),
    "semantic_kernel.functions.kernel_function_from_prompt": ("KernelFunctionFromPrompt",),
    "semantic_kernel.prompt_template.handlebars_prompt_template": ("HandlebarsPromptTemplate",),
    "semantic_kernel.prompt_template.jinja2_prompt_template": ("Jinja2PromptTemplate",),
    "semantic_kernel.prompt_template.kernel_prompt_template": ("KernelPromptTemplate",),
    "semantic_kernel.prompt_template.prompt_template_base": ("PromptTemplateBase",),
    "semantic_kernel.prompt_template.prompt_template_config": ("PromptTemplateConfig",),
    "yaml": (),
}


class Unused(Exception):
    """The base of every stand-in: a class that refuses to be instantiated."""

    def __init__(self, *_: object, **__: object) -> None:
        # Nothing is left to be written here: what the app never uses fails loudly if it is used.
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
        with lazy_reexports("openai"), lazy_reexports("semantic_kernel"):
            yield
    finally:
        for name in stand_ins:
            del sys.modules[name]
