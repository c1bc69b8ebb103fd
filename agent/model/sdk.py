"""The names of Semantic Kernel and openai that the agent uses: the one door to both.

Everyone else imports them from here, so that they are loaded without the parts that no turn uses
(agent/model/lean_imports.py), once, and so that what the agent leans on can be read in one place.
"""

from agent.model.lean_imports import lean_imports

with lean_imports():
    import openai
    from openai import AsyncOpenAI, AsyncStream, DefaultAioHttpClient, NotGiven
    from openai._models import FinalRequestOptions
    from openai._utils._json import openapi_dumps
    from openai.types.chat import ChatCompletion, ChatCompletionChunk
    from semantic_kernel import Kernel
    from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
    from semantic_kernel.connectors.ai.open_ai import (
        OpenAIChatCompletion,
        OpenAIChatPromptExecutionSettings,
    )
    from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
    from semantic_kernel.contents import (
        AuthorRole,
        ChatHistory,
        ChatMessageContent,
        FunctionCallContent,
        FunctionResultContent,
        StreamingChatMessageContent,
        TextContent,
    )
    from semantic_kernel.functions import (
        KernelFunction,
        KernelFunctionFromMethod,
        kernel_function,
    )

__all__ = [
    "AsyncOpenAI",
    "AsyncStream",
    "AuthorRole",
    "ChatCompletion",
    "ChatCompletionChunk",
    "ChatHistory",
    "ChatMessageContent",
    "DefaultAioHttpClient",
    "FinalRequestOptions",
    "FunctionCallContent",
    "FunctionChoiceBehavior",
    "FunctionResultContent",
    "Kernel",
    "KernelFunction",
    "KernelFunctionFromMethod",
    "NotGiven",
    "OpenAIChatCompletion",
    "OpenAIChatPromptExecutionSettings",
    "PromptExecutionSettings",
    "StreamingChatMessageContent",
    "TextContent",
    "kernel_function",
    "openai",
    "openapi_dumps",
]
