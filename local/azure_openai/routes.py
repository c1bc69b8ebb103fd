"""The operations of Azure OpenAI that the agent uses, and a plain no to the others.

https://learn.microsoft.com/azure/ai-foundry/openai/reference
"""

import uuid
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.azure_openai import conversation
from local.azure_openai.answers import Answer, HangUps, Pace
from local.azure_openai.completions import Completion
from local.azure_openai.errors import (
    AzureOpenAIError,
    InvalidRequestError,
    KeyRefusedError,
    NotEmulatedError,
    NotFoundError,
    ServiceError,
    UnauthorizedError,
)
from local.azure_openai.faults import (
    AnswerFiltered,
    Cut,
    Fault,
    Faults,
    Slow,
    refusal,
)
from local.azure_openai.images import check_images
from local.azure_openai.limits import RateCounter, RateLimits
from local.azure_openai.relay import Relay
from local.azure_openai.requests import ChatRequest, read_chat_request, read_object
from local.azure_openai.scripted import ScriptError
from local.azure_openai.stand_in import StandInModel
from local.azure_openai.steps import Model, Reply, StepRefusedError, bounded, reply_to
from local.azure_openai.usage import (
    CHARS_PER_TOKEN,
    Usage,
    completion_tokens,
    prompt_tokens,
)
from local.defaults import AZURE_OPENAI_AUDIENCE
from local.managed_identity import TokenRefusedError, TokenVerifier

DEPLOYMENT: Final = "local"
REGION: Final = "local"
CONTEXT_TOKENS: Final = 128_000
API_VERSIONS: Final = frozenset(
    {
        "2024-06-01",
        "2024-10-21",
        "2024-08-01-preview",
        "2024-09-01-preview",
        "2024-10-01-preview",
        "2024-12-01-preview",
        "2025-01-01-preview",
        "2025-02-01-preview",
        "2025-03-01-preview",
        "2025-04-01-preview",
    }
)
# The v1 paths need none, and take these.
V1_API_VERSIONS: Final = frozenset({None, "v1", "preview", "latest"})


class AzureOpenAI:
    """An Azure OpenAI account with one deployment, or two of the same model.

    Args:
        verifier: checks the callers' tokens; they must be for Azure OpenAI's audience.
        deployment: its name, as in AZURE_OPENAI_CHAT_DEPLOYMENT_NAME.
        alias: the name of a second deployment.
        model: who answers: a function from the request to one step, or a relay to a real server.
        model_name: what answers say in `model`; a relay's server says it itself.
        limits: requests and tokens per minute.
        context_tokens: what a request may have, by the estimate of `usage`.

    Attributes:
        app: the ASGI application; serve it on loopback.
        faults: failures for the next requests.
        hang_ups: callers that left before their answer was complete.
        sees: whether the model takes pictures, or refuses them as one that reads text alone; False
            of a relay's, which decides for itself.
    """

    def __init__(
        self,
        verifier: TokenVerifier,
        *,
        deployment: str = DEPLOYMENT,
        alias: str | None = None,
        model: Model | Relay | None = None,
        model_name: str = StandInModel.name,
        limits: RateLimits | None = None,
        context_tokens: int = CONTEXT_TOKENS,
    ) -> None:
        self.deployment = deployment
        self._deployments = {deployment, alias}
        self.faults = Faults()
        self.hang_ups = HangUps()
        self._verifier = verifier
        self._model = StandInModel() if model is None else model
        self.sees = not isinstance(self._model, Relay)
        self._model_name = self._model.name if isinstance(self._model, Relay) else model_name
        self._context_tokens = context_tokens
        self._rates = RateCounter(limits or RateLimits())
        chat = "/chat/completions"
        self.app = Starlette(
            routes=[
                Route(f"/openai/deployments/{{deployment}}{chat}", self._chat, methods=["POST"]),
                Route(f"/openai/v1{chat}", self._chat_v1, methods=["POST"]),
                Route("/openai/models", self._models, methods=["GET"]),
                Route("/openai/v1/models", self._models_v1, methods=["GET"]),
                Route(
                    "/openai/{operation:path}",
                    self._other,
                    methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
                ),
            ],
            exception_handlers={
                AzureOpenAIError: self._error_response,
                HTTPException: self._http_error_response,
            },
        )

    async def _chat(self, request: Request) -> Response:
        faults = self._enter(request)
        self._check_api_version(request, API_VERSIONS)
        self._check_deployment(request.path_params["deployment"])
        return await self._answer(request, faults)

    async def _chat_v1(self, request: Request) -> Response:
        faults = self._enter(request)
        self._check_api_version(request, V1_API_VERSIONS)
        name = read_object(await request.body()).get("model")
        if not isinstance(name, str):
            raise InvalidRequestError("Missing required parameter: 'model'.", param="model")
        self._check_deployment(name)
        return await self._answer(request, faults)

    async def _models(self, request: Request) -> Response:
        self._authorize(request)
        self._check_api_version(request, API_VERSIONS)
        return self._model_list()

    async def _models_v1(self, request: Request) -> Response:
        self._authorize(request)
        self._check_api_version(request, V1_API_VERSIONS)
        return self._model_list()

    async def _other(self, request: Request) -> Response:
        self._authorize(request)
        raise NotEmulatedError(f"{request.method} {request.url.path}")

    def _model_list(self) -> Response:
        model: dict[str, Any] = {
            "id": self._model_name,
            "object": "model",
            "capabilities": {
                "chat_completion": True,
                "completion": False,
                "embeddings": False,
                "fine_tune": False,
                "inference": True,
            },
            "lifecycle_status": "generally-available",
            "status": "succeeded",
        }
        return JSONResponse({"object": "list", "data": [model]}, headers=self._headers())

    async def _answer(self, request: Request, faults: tuple[Fault, ...]) -> Response:
        body = await request.body()
        slow = next((fault for fault in faults if isinstance(fault, Slow)), Slow())
        cut = next((fault for fault in faults if isinstance(fault, Cut)), None)
        if isinstance(self._model, Relay):
            return self._model.response(read_object(body), self._headers(), self.hang_ups)
        chat = read_chat_request(body)
        conversation.check(chat)
        check_images(chat, sees=self.sees)
        prompt = prompt_tokens(chat)
        self._check_length(prompt)
        self._rates.admit(prompt)
        reply = self._reply(self._model, chat)
        if any(isinstance(fault, AnswerFiltered) for fault in faults):
            text = reply.text[: len(reply.text) // 2]
            reply = Reply(text, (), "content_filter")
        return Answer(
            Completion(
                model=self._model_name,
                reply=reply,
                usage=Usage(prompt, completion_tokens(reply)),
                includes_usage=chat.includes_usage,
            ),
            streamed=bool(chat.stream),
            pace=Pace(slow, cut.after_chunks if cut else None),
            headers=self._headers(),
            hang_ups=self.hang_ups,
        )

    @staticmethod
    def _reply(model: Model, chat: ChatRequest) -> Reply:
        try:
            return bounded(reply_to(chat, model(chat)), chat, CHARS_PER_TOKEN)
        except StepRefusedError as error:
            raise InvalidRequestError(f"The model cannot answer: {error}.", param=None) from error
        except ScriptError as error:
            raise ServiceError(500, "ScriptError", str(error), retryable=False) from error

    def _enter(self, request: Request) -> tuple[Fault, ...]:
        """Let a caller in, unless a fault waits for it."""
        object_id = self._authorize(request)
        faults = self.faults.take()
        for fault in faults:
            error = refusal(fault, object_id)
            if error is not None:
                raise error
        return faults

    def _authorize(self, request: Request) -> str:
        """The object id of the caller's identity."""
        if "authorization" not in request.headers and "api-key" in request.headers:
            raise KeyRefusedError
        try:
            return self._verifier.verify(request.headers.get("authorization")).object_id
        except TokenRefusedError as error:
            raise UnauthorizedError(
                "401",
                "Unauthorized. Access token is missing, invalid, audience is incorrect"
                f" ({AZURE_OPENAI_AUDIENCE}), or have expired.",
                error.reason,
            ) from error

    @staticmethod
    def _check_api_version(request: Request, known: frozenset[str] | frozenset[str | None]) -> None:
        # Azure answers an unknown or missing version as it answers an unknown path.
        if request.query_params.get("api-version") not in known:
            raise NotFoundError("404", "Resource not found")

    def _check_deployment(self, name: str) -> None:
        if name not in self._deployments:
            raise NotFoundError(
                "DeploymentNotFound",
                "The API deployment for this resource does not exist. If you created the"
                " deployment within the last 5 minutes, please wait a moment and try again.",
            )

    def _check_length(self, tokens: int) -> None:
        if tokens > self._context_tokens:
            raise InvalidRequestError(
                f"This model's maximum context length is {self._context_tokens} tokens. However,"
                f" your messages resulted in {tokens} tokens. Please reduce the length of the"
                " messages.",
                param="messages",
                code="context_length_exceeded",
            )

    def _headers(self) -> dict[str, str]:
        request_id = str(uuid.uuid4())
        return {
            "apim-request-id": request_id,
            "x-request-id": request_id,
            "x-ms-region": REGION,
            "x-ms-deployment-name": self.deployment,
            "cache-control": "no-cache, must-revalidate",
            **self._rates.headers(),
        }

    async def _error_response(self, _request: Request, error: Exception) -> Response:
        if not isinstance(error, AzureOpenAIError):
            raise TypeError(error)
        return JSONResponse(
            {"error": error.error},
            status_code=error.status,
            headers={**self._headers(), **error.headers},
        )

    async def _http_error_response(self, _request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise TypeError(error)
        known = {404: "Resource not found", 405: "Method not allowed"}
        message = known.get(error.status_code, str(error.detail))
        return JSONResponse(
            {"error": {"code": str(error.status_code), "message": message}},
            status_code=error.status_code,
            headers=self._headers(),
        )
