"""The kernel of one request: the model service of the worker, and the request's own functions.

Building it costs half a millisecond because everything slow is in the service.
"""

from collections.abc import Callable, Iterable
from typing import Any

from agent.model.sdk import Kernel, OpenAIChatCompletion

PLUGIN = "python"


def build_kernel(
    service: OpenAIChatCompletion, functions: Iterable[Callable[..., Any]] = ()
) -> Kernel:
    """The kernel of one request.

    Args:
        service: the model, shared by all requests of the worker.
        functions: each marked with `@kernel_function`; what the model may call. Without any it has
            no tool.
    """
    kernel = Kernel(services=service)
    for function in functions:
        # add_plugin would look through all members of an object.
        kernel.add_function(PLUGIN, function)
    return kernel
