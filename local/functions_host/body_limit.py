"""The largest request body that the host lets through."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# FUNCTIONS_REQUEST_BODY_SIZE_LIMIT, the app setting that changes it, has this default:
# https://learn.microsoft.com/azure/azure-functions/functions-app-settings
DEFAULT_MAX_BODY_BYTES = 104_857_600


class BodyLimit:
    """Answers 413 to a larger body: at once if its length is announced, else when it is reached."""

    def __init__(self, app: ASGIApp, max_bytes: int = DEFAULT_MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, with a body that ends where the limit is."""
        length = Headers(scope=scope).get("content-length", "")
        if length.isascii() and length.isdigit() and int(length) > self._max_bytes:
            await _refuse(send)
            return
        received_bytes = 0
        response_started = too_large = False

        async def receive_counted() -> Message:
            nonlocal received_bytes, too_large
            if too_large:
                return {"type": "http.disconnect"}
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if received_bytes > self._max_bytes:
                too_large = True
                if not response_started:
                    await _refuse(send)
                return {"type": "http.disconnect"}  # for the function its caller is gone
            return message

        async def send_once(message: Message) -> None:
            nonlocal response_started
            if not too_large:
                response_started = True
                await send(message)

        await self._app(scope, receive_counted, send_once)


async def _refuse(send: Send) -> None:
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body"})
