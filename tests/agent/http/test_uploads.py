"""The files of a form."""

from collections.abc import AsyncIterator

import pytest

from agent.errors import InvalidRequestError
from agent.http.uploads import FILES_MAX, file_name_of, uploads


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


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('form-data; name="file"; filename="a.csv"', "a.csv"),
        ('form-data; name="file"; filename="a.csv', "a.csv"),
        ("form-data; name=file; filename=a.csv", "a.csv"),
        ("form-data; name=file; filename=a b.csv; x=y", "a b.csv"),
        ('form-data; filename="a;b=\\"c\\".csv"; name="file"', 'a;b="c".csv'),
        ('form-data; name="file"; filename="d/a.csv"', "d/a.csv"),
        ('form-data; name="file"; filename="a%22b%0A.csv"', 'a"b\n.csv'),
        ('form-data; name="file"; filename="100%.csv"', "100%.csv"),
        ('form-data; name="file"; filename="\u00e9\u4e2d.csv"', "\u00e9\u4e2d.csv"),
        # .NET's HttpClient
        (
            "form-data; name=file; filename=\"=?utf-8?B?w6kuY3N2?=\"; filename*=utf-8''%C3%A9.csv",
            "\u00e9.csv",
        ),
        ('form-data; name=file; filename="=?utf-8?B?w6kuY3N2?="', "\u00e9.csv"),
        ("form-data; name=file; filename==?utf-8?Q?=C3=A9.csv?=", "\u00e9.csv"),
        ("form-data; name=file; filename*=UTF-8'en'it%27s%20a%2Bb.csv", "it's a+b.csv"),
        ("form-data; name=file; filename*=iso-8859-1''%E9.csv", "\u00e9.csv"),
        ("form-data; name=file; filename=\"a.csv\"; filename*=no-such''b.csv", "a.csv"),
        ('form-data; name=file; filename="=?no-such?B?w6k=?="', "=?no-such?B?w6k=?="),
        ('form-data; name="file"; filename=""', ""),
        ('form-data; name="text"', None),
    ],
)
def test_a_files_name_is_read_however_a_client_writes_it(disposition: str, name: str) -> None:
    assert file_name_of(disposition.encode()) == name


@pytest.mark.parametrize("boundary", ["b", "x" * 70, "a'()+_,-./:=? b"])
async def test_a_boundary_of_any_legal_length_is_taken(boundary: str) -> None:
    async def body() -> AsyncIterator[bytes]:
        form = (
            f"--{boundary}\r\n"
            'Content-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
            f"--{boundary[:-1]}\r\n--{boundary}--\r\n"
        ).encode()
        for start in range(0, len(form), 7):
            yield form[start : start + 7]

    async for upload in uploads(f'multipart/form-data; boundary="{boundary}"', body()):
        content = b"".join([chunk async for chunk in upload.content])
        assert content == f"--{boundary[:-1]}".encode()
