"""All errors of the app: each class carries its code, its HTTP status and whether a retry can help.

    AgentError
    ├── RequestError                   the caller can mend it
    │   ├── InvalidRequestError        400
    │   ├── SignInRequiredError        401
    │   ├── CrossSiteRequestError      403
    │   ├── SignInNotConfiguredError   403
    │   ├── ConversationNotFoundError  404, also for a conversation of somebody else
    │   ├── FileNotStoredError         404
    │   ├── ModelNotServedError        404
    │   ├── PageAssetNotFoundError     404
    │   ├── MethodNotAllowedError      405
    │   ├── ConversationBusyError      409
    │   ├── PayloadTooLargeError       413
    │   └── UnsupportedMediaTypeError  415
    ├── SettingsError                  the operator can mend it: an app setting
    ├── BrokenToolError                the operator can mend it: a file in agent/tools
    ├── AppBusyError                   there is no memory left for what callers send
    ├── IdentityError                  no token for the model or the session pool
    ├── ModelError
    │   ├── ModelUnreachableError
    │   ├── ModelFailedError
    │   │   └── ModelParameterError    it takes a parameter not, or not with this value
    │   ├── ModelAnswerCutError        it ended in the middle
    │   ├── ModelAnswerInvalidError    it is not what the protocol has
    │   ├── ModelThrottledError
    │   ├── ModelAccessError           a role is missing
    │   ├── DeploymentNotFoundError
    │   ├── ContextTooLongError
    │   └── ContentFilteredError
    ├── PoolError
    │   ├── PoolUnreachableError
    │   ├── PoolTimeoutError
    │   ├── PoolFailedError            it answered with an error of its own
    │   ├── PoolAnswerLostError        it took an execution and did not tell what came of it
    │   ├── PoolRefusedError           it did not take the request, or does not speak the protocol
    │   ├── PoolFullError
    │   ├── PoolAccessError            a role is missing
    │   └── PoolNotFoundError
    ├── StoreError                     the conversations' store did not do its part
    │   ├── StoreUnreachableError
    │   ├── StoreAccessError           a role is missing
    │   ├── StoreNotFoundError         the container or the folder is not there
    │   ├── HoldLostError              somebody else may have gone on with the conversation
    │   └── ConversationUnreadableError  what is stored was not written by this app
    └── DeadlineExceededError

Code that a model wrote and that raises is none of these: it is a result, which the model can
repair.
The messages are for the caller: they name settings, fields and roles, never values or addresses. Of
what a service answered they have the model's code and message alone, bounded and without secrets
(agent/model/refusals.py).
"""

from traceback import format_tb
from typing import ClassVar


class AgentError(Exception):
    """Base of all errors that end a request.

    Attributes:
        code: stable name for programs, as in `problem+json`.
        status: HTTP status of the answer.
        title: what the code means, the same for every occurrence.
        mend: what to do about it, likewise; `detail` says more about this one.
        retryable: the same request may succeed later.
        retry_after_s: when, in whole seconds, if the service said so.
        field: the field of the request that is wrong, where there is one.
        quoted: what of `detail` are words of a service, which may repeat what it was asked.
    """

    code: ClassVar[str] = "InternalError"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "The request failed."
    mend: ClassVar[str] = "Look for the answer's operation_id in the log, which has the traceback."
    retryable: ClassVar[bool] = False

    def __init__(
        self, detail: str, *, retry_after_s: int | None = None, field: str | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.field = field
        self.quoted = ""

    @property
    def detail_for_log(self) -> str:
        """`detail` without what may be private."""
        return self.detail.replace(self.quoted, "[…]") if self.quoted else self.detail

    @classmethod
    def unexpected(cls) -> "AgentError":
        """The answer for an exception that nobody expected; the log has its traceback."""
        return AgentError("An unexpected error occurred. The log has the details.")


class RequestError(AgentError):
    """The request is wrong; the caller can mend it."""

    code = "InvalidRequest"
    status = 400
    title = "The request is not valid."
    mend = "Read `detail`: it names the field (`field`) and what it may be."


class InvalidRequestError(RequestError):
    """A parameter or the body is missing, malformed or over its limit."""


class SignInRequiredError(RequestError):
    """App Service Authentication is on, and nobody is signed in."""

    code = "SignInRequired"
    status = 401
    title = "The request needs a signed-in user."
    mend = "Sign in, or send a token of Microsoft Entra ID: docs/deploy.md."


class CrossSiteRequestError(RequestError):
    """The page of another site made a browser send this, with the sign-in of whoever reads it."""

    code = "CrossSiteRequest"
    status = 403
    title = "Another site may not use this sign-in."
    mend = "Send the request from the app's own page, or from a program with a token."


class SignInNotConfiguredError(RequestError):
    """The request is for what is the caller's own, and nobody signs in."""

    code = "SignInNotConfigured"
    status = 403
    title = "The app does not know who its callers are."
    mend = "Keep the ids of conversations yourself, or turn sign-in on: docs/deploy.md."


class ConversationNotFoundError(RequestError):
    """The caller has no conversation of that id: unknown, deleted or somebody else's."""

    code = "ConversationNotFound"
    status = 404
    title = "There is no such conversation."
    mend = "Start another conversation; an id is good for whoever started it alone."


class FileNotStoredError(RequestError):
    """The conversation has no file of that name."""

    code = "FileNotFound"
    status = 404
    title = "The conversation has no such file."
    mend = "List the conversation's files, and upload it again if need be."


class ModelNotServedError(RequestError):
    """An OpenAI client named another model than the agent's."""

    code = "ModelNotServed"
    status = 404
    title = "There is no such model."
    mend = "Name the model that `GET /api/v1/models` names."


class PageAssetNotFoundError(RequestError):
    """The chat page has no file of that name; it was loaded before the app was updated."""

    code = "PageAssetNotFound"
    status = 404
    title = "The page has no such file."
    mend = "Load the page again."


class ConversationBusyError(RequestError):
    """Another turn of the conversation is running; `retry_after_s` is always set."""

    code = "ConversationBusy"
    status = 409
    title = "Another turn of the conversation is running."
    mend = "Wait for the answer of the turn before, at least `Retry-After` seconds."
    retryable = True


class MethodNotAllowedError(RequestError):
    """The route exists, the method does not."""

    code = "MethodNotAllowed"
    status = 405
    title = "The route does not have this method."
    mend = "Use a method of the header `Allow`."


class PayloadTooLargeError(RequestError):
    """The body has more bytes than the route takes."""

    code = "PayloadTooLarge"
    status = 413
    title = "The body is too large."
    mend = "Send less: `detail` has the limit. Files go into a conversation."


class UnsupportedMediaTypeError(RequestError):
    """The body is not of a type that the route reads."""

    code = "UnsupportedMediaType"
    status = 415
    title = "The body's content type is not supported."
    mend = "Send the `Content-Type` that `detail` names."


class SettingsError(AgentError):
    """App settings are missing or wrong; the detail names each and what it should be."""

    code = "SettingsInvalid"
    title = "The app is not configured."
    mend = "Correct the app settings that `detail` names, and restart the app."


class BrokenToolError(AgentError):
    """A tool of the app's own does not load; the detail says where and why."""

    code = "ToolBroken"
    title = "A tool of the app does not load."
    mend = "Correct the file that `detail` names, or remove it, and restart the app."


class AppBusyError(AgentError):
    """Other requests have the memory that this one needs; `retry_after_s` is always set."""

    code = "AppBusy"
    status = 503
    title = "The app has no memory left for the request."
    mend = "Ask again after `Retry-After` seconds. If it stays, let more instances run."
    retryable = True


class IdentityError(AgentError):
    """The identity gave no token."""

    code = "TokenUnavailable"
    status = 503
    title = "The app's identity could not get a token."
    mend = (
        "Assign the managed identity to the app (AZURE_CLIENT_ID names a user-assigned one); "
        "on a laptop start the local Azure, or `az login`."
    )
    retryable = True


class ModelError(AgentError):
    """The model did not answer."""


class ModelUnreachableError(ModelError):
    """No connection to the model, or it broke."""

    code = "ModelUnreachable"
    status = 503
    title = "The model could not be reached."
    mend = "Ask again. If it stays, check AZURE_OPENAI_ENDPOINT and the network to it."
    retryable = True


class ModelFailedError(ModelError):
    """The model answered with an error of its own."""

    code = "ModelFailed"
    status = 502
    title = "The model failed."
    mend = "Read `detail`: it has the service's own words and the setting that mends them."


class ModelParameterError(ModelFailedError):
    """The model takes a parameter not at all, or not with this value.

    Attributes:
        parameter: its name, as ModelParameters has it.
    """

    def __init__(self, detail: str, parameter: str) -> None:
        super().__init__(detail)
        self.parameter = parameter


class ModelAnswerCutError(ModelError):
    """The model's answer ended in the middle: what came of it is not an answer."""

    code = "ModelAnswerCut"
    status = 502
    title = "The model's answer broke off."
    mend = "Ask again. If it stays, look at what is between the app and the model."
    retryable = True


class ModelAnswerInvalidError(ModelError):
    """What answered does not speak the protocol: a page, broken JSON, something else."""

    code = "ModelAnswerInvalid"
    status = 502
    title = "The model's answer cannot be read."
    mend = "Check that AZURE_OPENAI_ENDPOINT is the address of the API, not of a page."


class ModelThrottledError(ModelError):
    """The deployment's tokens or requests per minute are used up."""

    code = "ModelThrottled"
    status = 429
    title = "The model is throttled."
    mend = "Ask again after `Retry-After` seconds, or raise the deployment's capacity."
    retryable = True


class ModelAccessError(ModelError):
    """The identity's token was refused."""

    code = "ModelAccessDenied"
    status = 502
    title = "The model refused the app's identity."
    mend = "Give the identity the role that `detail` names, or let the app's network in."


class DeploymentNotFoundError(ModelError):
    """The account has no deployment of the configured name."""

    code = "DeploymentNotFound"
    status = 502
    title = "The model deployment does not exist."
    mend = "Correct AZURE_OPENAI_CHAT_DEPLOYMENT_NAME or AZURE_OPENAI_API_VERSION."


class ContextTooLongError(ModelError):
    """The conversation and the question are longer than the model's context window."""

    code = "ContextTooLong"
    status = 400
    title = "The conversation is too long for the model."
    mend = "Shorten the input, lower CONVERSATION_MAX_CHARS, or start another conversation."


class ContentFilteredError(ModelError):
    """Azure OpenAI's content filter refused the prompt."""

    code = "ContentFiltered"
    status = 400
    title = "The content filter refused the prompt."
    mend = "Put the question in other words, or change the deployment's content filter."


class PoolError(AgentError):
    """The session pool did not do its part."""


class PoolUnreachableError(PoolError):
    """No connection to the session pool, or it broke."""

    code = "PoolUnreachable"
    status = 503
    title = "The session pool could not be reached."
    mend = "Ask again. If it stays, check POOL_MANAGEMENT_ENDPOINT and the network to it."
    retryable = True


class PoolTimeoutError(PoolError):
    """The session pool did not answer in the time that the execution and the way may take."""

    code = "PoolTimeout"
    status = 504
    title = "The session pool did not answer in time."
    mend = "Ask for less work in one execution; if small ones fail too, look at the pool."


class PoolFailedError(PoolError):
    """The session pool answered with an error of its own."""

    code = "PoolFailed"
    status = 502
    title = "The session pool failed."
    mend = "Ask again. If it stays, look at the pool's logs."
    retryable = True


class PoolAnswerLostError(PoolError):
    """The session pool took an execution, and its answer did not arrive: the code may have run."""

    code = "PoolAnswerLost"
    status = 502
    title = "The session pool's answer was lost."
    mend = "Look whether the code has done its work before you ask again."


class PoolRefusedError(PoolError):
    """The session pool did not take the request, or answered outside its protocol."""

    code = "PoolRefused"
    status = 502
    title = "The session pool did not take the request."
    mend = "Check that POOL_MANAGEMENT_ENDPOINT is the pool's poolManagementEndpoint."


class PoolFullError(PoolError):
    """Every session is held by somebody."""

    code = "PoolFull"
    status = 503
    title = "The session pool has no free session."
    mend = "Ask again after `Retry-After` seconds, or raise the pool's maximum of sessions."
    retryable = True


class PoolAccessError(PoolError):
    """The identity's token was refused."""

    code = "PoolAccessDenied"
    status = 502
    title = "The session pool refused the app's identity."
    mend = "Give the identity the role that `detail` names on the session pool."


class PoolNotFoundError(PoolError):
    """The session pool has no such session or file, or is not at that address."""

    code = "PoolNotFound"
    status = 502
    title = "Session or file not found in the pool."
    mend = "Check POOL_MANAGEMENT_ENDPOINT; a file is there as long as its session."


class StoreError(AgentError):
    """The store of the conversations failed, or answered with an error of its own."""

    code = "StoreFailed"
    status = 503
    title = "The conversations' store failed."
    mend = "Ask again. If it stays, look at the storage account, or at the folder's disk."
    retryable = True


class StoreUnreachableError(StoreError):
    """No connection to the store, or it broke, or it took too long."""

    code = "StoreUnreachable"
    title = "The conversations' store could not be reached."
    mend = "Ask again. If it stays, check CONVERSATIONS_URL and the network to it."


class StoreAccessError(StoreError):
    """The store refused the app's identity, or the folder is not the app's to write."""

    code = "StoreAccessDenied"
    status = 502
    title = "The conversations' store refused the app."
    mend = "Give the identity the role that `detail` names, or let the app write the folder."
    retryable = False


class StoreNotFoundError(StoreError):
    """The container does not exist."""

    code = "StoreNotFound"
    status = 502
    title = "The conversations' store does not exist."
    mend = "Make the container that CONVERSATIONS_URL names."
    retryable = False


class HoldLostError(StoreError):
    """The turn lost its hold on the conversation, so it was not added to the history."""

    code = "HoldLost"
    title = "The turn lost its hold on the conversation."
    mend = "Ask again: another turn went on with the conversation."


class ConversationUnreadableError(StoreError):
    """The data stored under the conversation's name was not written by this app."""

    code = "ConversationUnreadable"
    status = 500
    title = "The stored conversation cannot be read."
    mend = "Delete the conversation, or restore what the store held before."
    retryable = False


class DeadlineExceededError(AgentError):
    """The turn took longer than TURN_TIMEOUT_SECONDS."""

    code = "DeadlineExceeded"
    status = 504
    title = "The turn took too long."
    mend = "Ask for less at once, or raise TURN_TIMEOUT_SECONDS (up to 225)."


def let_go_of_frames(error: BaseException) -> None:
    """Keep of an error what it says, not the calls that it passed.

    A task holds its error, the error its calls, and these their task: with all that a caller sent,
    until somebody collects garbage.
    """
    errors: list[BaseException | None] = [error]
    while errors:
        if each := errors.pop():
            each.__traceback__ = None
            errors += [each.__cause__, each.__context__]


def frames_of(error: BaseException) -> str:
    """An error for the log: its class and where it was raised, without its words.

    They may hold what a caller asked, a setting, what a service answered.
    """
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "\n, which became ".join(_frames(each) for each in reversed(chain))


def _frames(error: BaseException) -> str:
    parts = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    frames = "".join(format_tb(error.__traceback__)).rstrip()
    of_parts = [f"{frames_of(part)}\n, one of " for part in parts]
    return "".join([*of_parts, f"{type(error).__name__}, raised at\n{frames}"])
