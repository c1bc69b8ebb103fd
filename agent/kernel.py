"""The kernel of one request: the shared model service, this request's code interpreter.

Building it costs half a millisecond because everything slow is in the service. What the agent uses
of Semantic Kernel's contents is imported here, once, without the parts it never uses.
"""

from agent.chat_service import OpenAIChatCompletion
from agent.code_interpreter import CodeInterpreter
from agent.lean_imports import lean_imports

with lean_imports():
    from semantic_kernel import Kernel
    from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
    from semantic_kernel.contents import (
        AuthorRole,
        ChatHistory,
        ChatMessageContent,
        FunctionCallContent,
        FunctionResultContent,
        StreamingChatMessageContent,
        TextContent,
    )
    from semantic_kernel.exceptions import ServiceResponseException

__all__ = [
    "AuthorRole",
    "ChatHistory",
    "ChatMessageContent",
    "FunctionCallContent",
    "FunctionChoiceBehavior",
    "FunctionResultContent",
    "Kernel",
    "ServiceResponseException",
    "StreamingChatMessageContent",
    "TextContent",
    "build_kernel",
]

PLUGIN = "python"


def build_kernel(service: OpenAIChatCompletion, interpreter: CodeInterpreter | None) -> Kernel:
    """The kernel of one request; without an interpreter the model has no tool."""
    kernel = Kernel(services=service)
    if interpreter is not None:
        # add_plugin would look through all members of the object.
        kernel.add_function(PLUGIN, interpreter.execute_python)
    return kernel
