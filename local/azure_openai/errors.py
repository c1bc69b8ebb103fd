"""Azure OpenAI's error envelope: `{"error": {"code", "message", ...}}`, and who raises what.

AzureOpenAIError
├── InvalidRequestError      400, the body is wrong or asks for what is not emulated
├── UnauthorizedError        401, no token for the audience, or no role
├── KeyRefusedError          403, an api-key where only Entra tokens are accepted
├── NotFoundError            404, path, api-version or deployment
├── NotEmulatedError         501, Azure has this operation, the stand-in has not
├── PromptFilteredError      400, the content filter refused the prompt
├── ThrottledError           429, with Retry-After
└── ServiceError             500, 502, 503
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

# The openai library obeys this; without it, it retries every 5xx.
NOT_RETRYABLE: Final = MappingProxyType({"x-should-retry": "false"})


class AzureOpenAIError(Exception):
    """A request that is answered with an error envelope.

    Attributes:
        status: of the HTTP response.
        error: what stands under `error` in the body.
        headers: of the HTTP response, beside those that every response has.
    """

    status = 500
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, code: str | None, message: str, **more: Any) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, **more}


class InvalidRequestError(AzureOpenAIError):
    """The body cannot be answered; `param` names the field."""

    status = 400

    def __init__(self, message: str, *, param: str | None, code: str | None = None) -> None:
        super().__init__(code, message, type="invalid_request_error", param=param)


class UnauthorizedError(AzureOpenAIError):
    """The caller has no token that counts here; `why` goes to the developer in a header."""

    status = 401

    def __init__(self, code: str, message: str, why: str) -> None:
        super().__init__(code, message)
        self.headers = {"x-local-azure-reason": why}


class KeyRefusedError(AzureOpenAIError):
    """The caller sent an api-key; the account accepts Microsoft Entra tokens only."""

    status = 403

    def __init__(self) -> None:
        super().__init__(
            "AuthenticationTypeDisabled", "Key based authentication is disabled for this resource."
        )


class NotFoundError(AzureOpenAIError):
    """There is no such path, api-version or deployment."""

    status = 404


class NotEmulatedError(AzureOpenAIError):
    """Azure answers this; the stand-in says that it does not, instead of pretending."""

    status = 501

    def __init__(self, what: str) -> None:
        super().__init__("NotEmulated", f"{what} is not emulated by the local Azure OpenAI.")
        self.headers = NOT_RETRYABLE


class PromptFilteredError(AzureOpenAIError):
    """The content filter refused the prompt."""

    status = 400

    def __init__(self, content_filter_result: Mapping[str, Any]) -> None:
        super().__init__(
            "content_filter",
            "The response was filtered due to the prompt triggering Azure OpenAI's content"
            " management policy. Please modify your prompt and retry.",
            type=None,
            param="prompt",
            status=400,
            innererror={
                "code": "ResponsibleAIPolicyViolation",
                "content_filter_result": dict(content_filter_result),
            },
        )


class ThrottledError(AzureOpenAIError):
    """Too many requests or tokens in this minute."""

    status = 429

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(
            "RateLimitReached",
            "Requests to the ChatCompletions_Create Operation have exceeded the rate limit of the"
            f" deployment. Please retry after {retry_after_s:g} seconds.",
        )
        self.headers = {
            "retry-after": str(math.ceil(retry_after_s)),
            "retry-after-ms": f"{retry_after_s * 1000:.0f}",
        }


class ServiceError(AzureOpenAIError):
    """The service itself fails; retrying may help unless `retryable` is false."""

    def __init__(self, status: int, code: str, message: str, *, retryable: bool = True) -> None:
        super().__init__(code, message)
        self.status = status
        if not retryable:
            self.headers = NOT_RETRYABLE
