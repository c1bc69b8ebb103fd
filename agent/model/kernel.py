"""The kernel of one request: the model service of the worker, and the request's own functions.

Building it costs a tenth of a millisecond: everything slow is in the service, or done once.
"""

import inspect
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from agent.model.sdk import (
    ChatCompletionClientBase,
    Kernel,
    KernelFunction,
    KernelFunctionFromMethod,
    KernelPlugin,
)
from agent.model.service import SCHEMA

PLUGIN = "python"


def declare(function: Callable[..., Any], schema: dict[str, Any], more: str = "") -> KernelFunction:
    """A function marked with `@kernel_function`, to be told to models by a schema of its own.

    Semantic Kernel's schema knows no bounds, no choices, and no default that is None.

    Args:
        function: of the worker; building it anew for each request would cost as much as the rest.
        schema: of its arguments, an object.
        more: what models read after the function's own description.
    """
    declared = KernelFunctionFromMethod(
        method=function, plugin_name=PLUGIN, parameters=[], additional_metadata={SCHEMA: schema}
    )
    description = inspect.cleandoc(declared.description or "")
    declared.metadata.description = f"{description}\n{more}" if more else description
    return declared


def build_kernel(
    service: ChatCompletionClientBase, functions: Iterable[Callable[..., Any] | KernelFunction] = ()
) -> Kernel:
    """The kernel of one request.

    Args:
        service: the model, shared by all requests of the worker.
        functions: each marked with `@kernel_function`, or declared; what the model may call.
            Without any it has no tool.
    """
    plugin = KernelPlugin(name=PLUGIN)
    for function in functions:
        bound = function if isinstance(function, KernelFunction) else _bound(function)
        # Put there as it is: the plugin would copy its description, all of it, once more.
        plugin.functions[bound.name] = bound
    return Kernel(services=service, plugins=plugin)


def _bound(method: Callable[..., Any]) -> KernelFunction:
    described = _described(getattr(method, "__func__", method))
    return described.model_copy(update={"method": method})


@cache
def _described(function: Callable[..., Any]) -> KernelFunctionFromMethod:
    """What the model reads of a function, which is the same for all objects that have it."""
    return KernelFunctionFromMethod(function, plugin_name=PLUGIN)
