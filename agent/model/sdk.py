"""The names of Semantic Kernel and openai that the agent uses: the one door to both.

Everyone else imports them from here, so that they are loaded without the parts that no turn uses
(agent/model/lean_imports.py), once, and so that what the agent leans on can be read in one place.
"""

from agent.model.lean_imports import lean_imports

with lean_imports():
    import openai
    from openai import AsyncOpenAI
    from openai._models import FinalRequestOptions
    from semantic_kernel import Kernel
    from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
    from semantic_kernel.connectors.ai.function_calling_utils import (
        kernel_function_metadata_to_function_call_format,
    )
    from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
    from semantic_kernel.contents import (
        AuthorRole,
        ChatHistory,
        ChatMessageContent,
        StreamingChatMessageContent,
    )
    from semantic_kernel.functions import (
        KernelArguments,
        KernelFunction,
        KernelFunctionFromMethod,
        KernelPlugin,
        kernel_function,
    )

__all__ = [
    "AsyncOpenAI",
    "AuthorRole",
    "ChatCompletionClientBase",
    "ChatHistory",
    "ChatMessageContent",
    "FinalRequestOptions",
    "Kernel",
    "KernelArguments",
    "KernelFunction",
    "KernelFunctionFromMethod",
    "KernelPlugin",
    "PromptExecutionSettings",
    "StreamingChatMessageContent",
    "kernel_function",
    "kernel_function_metadata_to_function_call_format",
    "openai",
]
