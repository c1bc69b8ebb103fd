"""The service's errors.

PoolError
├── UnauthorizedError               401, empty body: token, audience, unknown api-version
├── ForbiddenError                  403: no Session Executor role
├── PropertiesMissingError          400 SessionPropertiesMissing: body of another generation
├── ValidationFailedError           400 SessionRequestValidationFailed
├── NotSupportedError               400 SessionRequestNotSupported
├── SessionNotFoundError            400 SessionWithIdentifierNotFound
├── ExecutionNotFoundError          404: no such operation
├── FileMissingError                404: no such file
├── FileRefusedError                400: a name or path that leads nowhere
├── FileFailedError                 500: this machine could not do it
├── StorageFullError                507: /mnt/data is full, or this machine's disk
├── TooLargeError                   413
├── PoolFullError                   429: every session is held
├── TooManyExecutionsError          429: too many asynchronous ones wait already
├── PoolStoppingError               503: the pool ends
└── AllocationError                 500: a session did not start
"""

from typing import Any


class PoolError(Exception):
    """An error response.

    Attributes:
        status: HTTP status.
        code: `error.code` and `x-ms-error-code`; empty for an answer without a body.
        target: what the error is about.
    """

    status = 500
    code = "InternalServerError"

    def __init__(self, message: str, target: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.target = target

    def body(self, trace_id: str) -> dict[str, Any]:
        """The service's envelope."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.target is not None:
            error["target"] = self.target
        error["traceId"] = trace_id
        return {"error": error}


class UnauthorizedError(PoolError):
    """The token does not hold, or the api-version is unknown; the service does not say which."""

    status, code = 401, ""


class ForbiddenError(PoolError):
    """The caller lacks the role."""

    status, code = 403, "Forbidden"

    def __init__(self) -> None:
        super().__init__(
            "The client does not have authorization to perform action"
            " 'Microsoft.App/sessionPools/interpreters/execute/action'."
            " Role needed: Azure ContainerApps Session Executor."
        )


class PropertiesMissingError(PoolError):
    """The body is not shaped as this API generation wants it."""

    status, code = 400, "SessionPropertiesMissing"


class ValidationFailedError(PoolError):
    """A parameter does not have the form it must have."""

    status, code = 400, "SessionRequestValidationFailed"


class NotSupportedError(PoolError):
    """The endpoint does not exist in this API version."""

    status, code = 400, "SessionRequestNotSupported"


class SessionNotFoundError(PoolError):
    """The identifier has no live session."""

    status, code = 400, "SessionWithIdentifierNotFound"

    def __init__(self, identifier: str) -> None:
        super().__init__(f"Session with identifier {identifier} not found.", "identifier")


class ExecutionNotFoundError(PoolError):
    """Nothing was started under this operation id in the session."""

    status, code = 404, "ExecutionNotFound"

    def __init__(self, operation_id: str) -> None:
        super().__init__(f"No execution available for operation Id: {operation_id}")


class FileMissingError(PoolError):
    """There is no such file in the session."""

    status, code = 404, "FileNotFound"


class DeleteFileError(FileMissingError):
    """There is no such file to delete."""

    code = "DeleteFileError"


class FileRefusedError(PoolError):
    """The name or path is not one that the service takes."""

    status, code = 400, "FileNameInvalid"


class FileFailedError(PoolError):
    """Neither the caller nor the session is the reason: what is asked for may well be there."""


class StorageFullError(PoolError):
    """The session's storage has no room for the file."""

    status, code = 507, "InsufficientStorage"


class TooLargeError(PoolError):
    """The body is larger than the service takes."""

    status, code = 413, "RequestEntityTooLarge"


class PoolFullError(PoolError):
    """Every session is held by another identifier."""

    status, code = 429, "TooManyRequests"

    def __init__(self, identifier: str, pool: str) -> None:
        super().__init__(
            f"Error happened when allocating pod for identifier {identifier} in pool {pool}"
        )


class TooManyExecutionsError(PoolError):
    """So many asynchronous executions wait that no more are taken."""

    status, code = 429, "TooManyRequests"

    def __init__(self, how_many: str) -> None:
        super().__init__(
            f"{how_many} asynchronous executions that have not ended: wait for them, or delete"
            " their session, and send this one again."
        )


class PoolStoppingError(PoolError):
    """The pool ends while the request runs, and all sessions with it."""

    status, code = 503, "ServiceUnavailable"

    def __init__(self) -> None:
        super().__init__("The session pool is being stopped; its sessions end.")


class AllocationError(PoolFullError):
    """A session could not be started on this machine."""

    status, code = 500, "InternalServerError"
