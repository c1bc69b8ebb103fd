"""The kernel of one request: the model service of the worker, and the request's own functions.

Building it costs half a millisecond because everything slow is in the service.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from agent.model.sdk import (
    ChatCompletionClientBase,
    Kernel,
    KernelFunction,
    KernelFunctionFromMethod,
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
    kernel = Kernel(services=service)
    for function in functions:
        # add_plugin would look through all members of an object.
        kernel.add_function(PLUGIN, function)
    return kernel
