"""The HTTP surface: which routes there are. What answers them is in agent/http."""

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import azure.functions as func
from azurefunctions.extensions.http.fastapi import Request, Response

from agent.settings import StartSettings

SETTINGS = StartSettings.load()
# Where the platform makes callers sign in, they need no function key; dispatch refuses whoever has
# not signed in, and an app that would have neither does not start.
AUTH_LEVEL = func.AuthLevel.ANONYMOUS if SETTINGS.sign_in_required else func.AuthLevel.FUNCTION

app = func.FunctionApp(http_auth_level=AUTH_LEVEL)

# More than a route has, so that a wrong one gets a 405 that says which are right: the host alone
# answers 404.
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@app.route("chat", methods=METHODS)
async def chat(req: Request) -> Response:
    """Answer one question."""
    return await _answer("chat", req)


@app.route("agui", methods=METHODS)
async def agui(req: Request) -> Response:
    """Run the agent for an AG-UI front end."""
    return await _answer("agui", req)


@app.route("conversations", methods=METHODS)
async def conversations(req: Request) -> Response:
    """List the caller's conversations, or start one without a question."""
    return await _answer("conversations", req)


@app.route("conversations/{conversation_id}", methods=METHODS)
async def conversation(req: Request) -> Response:
    """Show or delete a conversation."""
    return await _answer("conversation", req)


@app.route("conversations/{conversation_id}/files", methods=METHODS)
async def files(req: Request) -> Response:
    """List the files of a conversation, or upload some."""
    return await _answer("files", req)


# A file in a folder has slashes in its name.
@app.route("conversations/{conversation_id}/files/{*name}", methods=METHODS)
async def file(req: Request) -> Response:
    """Download or delete a file of a conversation."""
    return await _answer("file", req)


@app.route("v1/chat/completions", methods=METHODS)
async def completions(req: Request) -> Response:
    """Answer an OpenAI client."""
    return await _answer("completions", req)


@app.route("v1/models", methods=METHODS)
async def models(req: Request) -> Response:
    """Tell an OpenAI client which model there is."""
    return await _answer("models", req)


@app.route("v1/models/{name}", methods=METHODS)
async def model(req: Request) -> Response:
    """Tell an OpenAI client about one model."""
    return await _answer("model", req)


@app.route("capabilities", methods=METHODS)
async def capabilities(req: Request) -> Response:
    """Tell a front end what the app can do."""
    return await _answer("capabilities", req)


@app.route("ui", methods=METHODS, auth_level=func.AuthLevel.ANONYMOUS)
async def page(req: Request) -> Response:
    """Show the chat page, which asks for the key that its requests need."""
    return await _answer("page", req)


@app.route("ui/{asset}", methods=METHODS, auth_level=func.AuthLevel.ANONYMOUS)
async def page_asset(req: Request) -> Response:
    """Send a file of the chat page."""
    return await _answer("page_asset", req)


@app.route("openapi.json", methods=METHODS)
async def openapi(req: Request) -> Response:
    """Describe all routes."""
    return await _answer("openapi", req)


@app.route("health/live", methods=METHODS, auth_level=func.AuthLevel.ANONYMOUS)
async def health_live(req: Request) -> Response:
    """Say that the worker answers; for probes, which have no key."""
    return await _answer("health_live", req)


@app.route("health/ready", methods=METHODS)
async def health_ready(req: Request) -> Response:
    """Say whether the app reaches the identity, the model, the session pool and the store."""
    return await _answer("health_ready", req)


async def _answer(route: str, req: Request) -> Response:
    dispatch = _dispatch.result() if _dispatch.done() else await asyncio.wrap_future(_dispatch)
    response: Response = await dispatch(
        route,
        req,
        sign_in_required=SETTINGS.sign_in_required,
        page_texts=(SETTINGS.agent_title, SETTINGS.agent_examples),
    )
    return response


def _import_agent() -> Any:
    # What is imported stays: collections would walk it 30 times, a twentieth of the time it takes.
    gc.disable()
    try:
        import_module("agent.http.worker_references").forget_answered_requests()
        import_module("agent.http.chat")  # most first requests are a question
        return import_module("agent.http.dispatch").dispatch
    finally:
        gc.freeze()
        gc.enable()


# Semantic Kernel is imported while the host still starts; only a first request may wait for it.
_dispatch = ThreadPoolExecutor(1, "import-agent").submit(_import_agent)
