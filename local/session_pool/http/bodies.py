"""Request bodies, read with a bound."""

import contextlib
import os
from collections.abc import AsyncIterator

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.types import Message

from local.session_pool.errors import StorageFullError, TooLargeError, ValidationFailedError

# https://learn.microsoft.com/azure/container-apps/sessions-code-interpreter#upload-files
MAX_UPLOAD_BYTES = 128 << 20
MAX_EXECUTION_BYTES = 4 << 20
# The multipart envelope around a file.
_ENVELOPE_BYTES = 64 << 10


async def read_body(request: Request, max_bytes: int = MAX_EXECUTION_BYTES) -> bytes:
    """Return the whole body.

    Raises:
        TooLargeError: it is longer than `max_bytes`.
    """
    body = bytearray()
    async for chunk in _bounded(request, max_bytes).stream():
        body += chunk
    return bytes(body)


@contextlib.asynccontextmanager
async def read_upload(request: Request) -> AsyncIterator[UploadFile]:
    """Yield the file of a multipart form; above 1 MiB it waits on disk, not in memory.

    Raises:
        StorageFullError: this machine's disk cannot take it.
        TooLargeError: it is longer than the service takes.
        ValidationFailedError: there is no file.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0]
    if media_type != "multipart/form-data":
        raise ValidationFailedError(
            f"An upload is multipart/form-data, not {media_type or 'without Content-Type'}.", "file"
        )
    try:
        form = await _bounded(request, MAX_UPLOAD_BYTES + _ENVELOPE_BYTES).form(
            max_files=1, max_fields=8
        )
    except (HTTPException, MultiPartException, ValueError) as error:
        reason = error.message if isinstance(error, MultiPartException) else error
        raise ValidationFailedError(
            f"The body is not a form with one file: {reason}.", "file"
        ) from error
    except OSError as error:
        raise StorageFullError(
            f"This machine cannot store the upload: {os.strerror(error.errno or 0)}."
        ) from error
    try:
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        if not files:
            raise ValidationFailedError("The form has no file in the field 'file'.", "file")
        if (files[0].size or 0) > MAX_UPLOAD_BYTES:
            raise TooLargeError("The file is larger than 128 MB.")
        yield files[0]
    finally:
        await form.close()


def _bounded(request: Request, max_bytes: int) -> Request:
    if int(request.headers.get("content-length") or 0) > max_bytes:
        raise TooLargeError(f"The body is larger than {max_bytes} bytes.")
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > max_bytes:
            raise TooLargeError(f"The body is larger than {max_bytes} bytes.")
        return message

    return Request(request.scope, receive)
