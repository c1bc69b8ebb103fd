"""The usual way: credential, clients and kernel built in every request, all of it imported."""

import os
import uuid

import azure.functions as func
from azure.identity.aio import DefaultAzureCredential, get_bearer_token_provider
from azurefunctions.extensions.http.fastapi import JSONResponse, Request
from semantic_kernel import Kernel
from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
from semantic_kernel.connectors.ai.open_ai import (
    AzureChatCompletion,
    AzureChatPromptExecutionSettings,
)
from semantic_kernel.contents import ChatHistory
from semantic_kernel.core_plugins.sessions_python_tool.sessions_python_plugin import (
    SessionsPythonTool,
)
from semantic_kernel.core_plugins.sessions_python_tool.sessions_python_settings import (
    SessionsPythonSettings,
)

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
_env = os.environ  # noqa: TID251 - one file like a tutorial's, without a module of settings to ask


@app.route("chat", methods=["POST"])
async def chat(req: Request) -> JSONResponse:
    """One turn, everything new."""
    question = (await req.json())["input"]
    async with DefaultAzureCredential() as credential:
        service = AzureChatCompletion(
            endpoint=_env["AZURE_OPENAI_ENDPOINT"],
            deployment_name=_env["AZURE_OPENAI_CHAT_DEPLOYMENT_NAME"],
            api_version="2024-10-21",
            ad_token_provider=get_bearer_token_provider(
                credential, "https://cognitiveservices.azure.com/.default"
            ),
        )
        pool_token = get_bearer_token_provider(credential, "https://dynamicsessions.io/.default")
        kernel = Kernel(services=[service])
        tool = SessionsPythonTool(
            auth_callback=pool_token,
            pool_management_endpoint=_env["POOL_MANAGEMENT_ENDPOINT"],
            settings=SessionsPythonSettings(session_id=uuid.uuid4().hex),
        )
        kernel.add_plugin(tool, "SessionsTool")
        history = ChatHistory(system_message="You answer questions by running Python.")
        history.add_user_message(question)
        answer = await service.get_chat_message_content(
            history,
            AzureChatPromptExecutionSettings(
                function_choice_behavior=FunctionChoiceBehavior.Auto()
            ),
            kernel=kernel,
        )
        return JSONResponse({"output": str(answer)})
