"""The kernel of one request: the model service of the worker, and the request's own functions.

Building it costs a tenth of a millisecond: everything slow is in the service, or done once.
"""

import inspect
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

from pydantic_core import from_json

from agent.model.sdk import (
    ChatCompletionClientBase,
    Kernel,
    KernelArguments,
    KernelFunction,
    KernelFunctionFromMethod,
    KernelPlugin,
    kernel_function_metadata_to_function_call_format,
)
from agent.model.wire import whole_characters

PLUGIN = "python"
_OFFER: Final = "offer"


def declare(function: Callable[..., Any], schema: dict[str, Any], more: str = "") -> KernelFunction:
    """A function marked with `@kernel_function`, to be told to models by a schema of its own.

    Semantic Kernel's schema knows no bounds, no choices, and no default that is None.

    Args:
        function: of the worker; building it anew for each request would cost as much as the rest.
        schema: of its arguments, an object.
        more: what models read after the function's own description.
    """
    declared = KernelFunctionFromMethod(method=function, plugin_name=PLUGIN, parameters=[])
    description = inspect.cleandoc(declared.description or "")
    declared.metadata.description = f"{description}\n{more}" if more else description
    _make_offer(declared, schema)
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


def offers(kernel: Kernel) -> list[dict[str, Any]]:
    """What models are told of the kernel's functions, as it is sent."""
    functions = kernel.plugins[PLUGIN].functions.values()
    return [(function.metadata.additional_properties or {})[_OFFER] for function in functions]


def _make_offer(function: KernelFunction, schema: dict[str, Any] | None = None) -> None:
    """Keep what models are told of a function: it is the same for each of their calls.

    Args:
        function: gets it.
        schema: of its arguments, if not Semantic Kernel's own.
    """
    offer = kernel_function_metadata_to_function_call_format(function.metadata)
    # The name that the instructions say, without a plugin's.
    offer["function"]["name"] = function.name
    if schema is not None:
        offer["function"]["parameters"] = schema
    function.metadata.additional_properties = {_OFFER: offer}


async def invoke(kernel: Kernel, name: str, arguments: str) -> str:
    """Call a function of the kernel; the value is its result as the model reads it.

    Semantic Kernel's own way to a function that a model calls reads the history and the call again,
    which `read_calls` has done, and tells the model of whatever it raises.

    Args:
        kernel: of the request.
        name: of the function.
        arguments: that fit it, a JSON object.
    """
    function = kernel.get_function(PLUGIN, name)
    return whole_characters(
        str(await function.invoke(kernel, KernelArguments(**from_json(arguments))))
    )


def _bound(method: Callable[..., Any]) -> KernelFunction:
    described = _described(getattr(method, "__func__", method))
    return described.model_copy(update={"method": method})


@lru_cache(maxsize=16)
def _described(function: Callable[..., Any]) -> KernelFunctionFromMethod:
    """What the model reads of a function, which is the same for all objects that have it."""
    described = KernelFunctionFromMethod(function, plugin_name=PLUGIN)
    _make_offer(described)
    return described
