"""The App Service shape of a refused token request: `statusCode` and `message`."""

from starlette.requests import Request
from starlette.responses import JSONResponse


class IdentityError(Exception):
    """A token request that App Service refuses."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


async def identity_error_response(_request: Request, error: Exception) -> JSONResponse:
    """The body that azure-identity reads its error message from."""
    if not isinstance(error, IdentityError):
        raise TypeError(error)
    return JSONResponse(
        {"statusCode": error.status, "message": error.message}, status_code=error.status
    )
