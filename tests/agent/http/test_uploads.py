"""The files of a form."""

from collections.abc import AsyncIterator

import pytest

from agent.errors import InvalidRequestError
from agent.http.uploads import FILES_MAX, uploads


async def names_in(count: int) -> list[str]:
    """Send a form with so many files, and read them."""
    part = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n1,2\r\n'

    async def body() -> AsyncIterator[bytes]:
        yield part * count
        yield b"--B--\r\n"

    names = []
    async for upload in uploads("multipart/form-data; boundary=B", body()):
        assert b"".join([chunk async for chunk in upload.content]) == b"1,2"
        names.append(upload.name)
    return names


async def test_a_form_has_as_many_files_as_it_may() -> None:
    assert await names_in(FILES_MAX) == ["a.csv"] * FILES_MAX
    with pytest.raises(InvalidRequestError, match="may have 1,000 files"):
        await names_in(FILES_MAX + 1)
