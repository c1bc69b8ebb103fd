"""Files of a session over the API, whatever code in the session does to them."""

import asyncio
import ctypes
import errno
import functools
import os
import tempfile
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote_from_bytes

import pytest

from local.session_pool import PoolOptions, SessionLimits
from local.session_pool.files import safe_open
from tests.local.session_pool.conftest import OpenPool
from tests.support.pool_client import PoolClient

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_uploaded_file_is_in_mnt_data(session: PoolClient) -> None:
    uploaded = await session.upload("data.csv", b"a,b\n1,2\n")
    assert uploaded.json()["name"] == "data.csv"
    assert uploaded.json()["sizeInBytes"] == 8
    result = await session.result("open('/mnt/data/data.csv').read()")
    assert result["executionResult"] == "a,b\n1,2\n"


async def test_code_may_change_and_delete_what_was_uploaded(session: PoolClient) -> None:
    await session.upload("data.csv", b"old")
    await session.result(
        "import os\nopen('/mnt/data/data.csv', 'w').write('new')\n"
        "os.rename('/mnt/data/data.csv', '/mnt/data/renamed.csv')"
    )
    content = await session.request("GET", "files/renamed.csv/content")
    assert content.content == b"new"
    await session.upload("renamed.csv", b"replaced")
    assert (await session.result("open('/mnt/data/renamed.csv').read()"))[
        "executionResult"
    ] == "replaced"


async def test_what_code_writes_can_be_downloaded_with_its_type(session: PoolClient) -> None:
    await session.result("open('/mnt/data/table.csv', 'w').write('a,b')")
    response = await session.request("GET", "files/table.csv/content")
    assert response.content == b"a,b"
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-length"] == "3"


async def test_a_deleted_file_is_gone(session: PoolClient) -> None:
    await session.upload("a.txt", b"a")
    assert (await session.request("DELETE", "files/a.txt")).status_code == 204
    again = await session.request("DELETE", "files/a.txt")
    assert again.status_code == 404
    assert again.json()["error"]["code"] == "DeleteFileError"
    assert again.headers["x-ms-error-code"] == "DeleteFileError"
    assert (await session.request("GET", "files/a.txt/content")).status_code == 404
    assert (await session.request("GET", "files/a.txt")).status_code == 404


async def test_folders_are_made_listed_and_deleted(session: PoolClient) -> None:
    await session.upload("deep.txt", b"deep", path="one/two")
    assert await session.names() == ["one"]
    inner = await session.request("GET", "files", params={"path": "one/two"})
    assert [entry["name"] for entry in inner.json()["value"]] == ["deep.txt"]
    everything = await session.request("GET", "files", params={"recursive": "true"})
    assert [
        (entry["directory"], entry["name"], entry["type"]) for entry in everything.json()["value"]
    ] == [
        (".", "one", "directory"),
        ("one", "two", "directory"),
        ("one/two", "deep.txt", "file"),
    ]
    content = await session.request("GET", "files/deep.txt/content", params={"path": "one/two"})
    assert content.content == b"deep"
    assert (await session.request("DELETE", "files/one")).status_code == 204
    assert await session.names() == []


@pytest.mark.parametrize(
    "name", ["ü ñ 文.csv", "a-_ .@$&=;,#%^()z", "percent%20.txt", "UPPER.TXT", "no-extension"]
)
async def test_documented_names_work_from_upload_to_deletion(
    session: PoolClient, name: str
) -> None:
    assert (await session.upload(name, b"x")).json()["name"] == name
    assert await session.names() == [name]
    quoted = urllib.parse.quote(name, safe="")
    assert (await session.request("GET", f"files/{quoted}/content")).content == b"x"
    assert (await session.request("GET", f"files/{quoted}")).json()["name"] == name
    assert (await session.request("DELETE", f"files/{quoted}")).status_code == 204


@pytest.mark.parametrize(
    "name", ["../escape.txt", "..", "a/../../escape.txt", "/etc/passwd/../x", "x" * 256]
)
async def test_names_that_lead_elsewhere_are_refused(session: PoolClient, name: str) -> None:
    assert (await session.upload(name, b"x")).status_code == 400


@pytest.mark.parametrize("path", ["..", "../..", "one/../..", "/mnt/data/.."])
async def test_paths_that_lead_elsewhere_are_refused(session: PoolClient, path: str) -> None:
    assert (await session.upload("a.txt", b"x", path=path)).status_code == 400
    listed = await session.request("GET", "files", params={"path": path})
    assert listed.status_code == 400


@pytest.fixture
def secret() -> Iterator[Path]:
    """A file of the host that any user could read."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        secret = Path(folder) / "secret.txt"
        secret.write_text("secret")
        yield secret
        assert secret.read_text() == "secret"


async def test_links_lead_nowhere(session: PoolClient, secret: Path) -> None:
    await session.result(
        f"import os\nos.symlink({str(secret)!r}, '/mnt/data/link')\n"
        "os.symlink('/', '/mnt/data/root')\nos.symlink('/proc/self/environ', '/mnt/data/env')"
    )
    for path in ("link", f"root{secret}", "env", "root/etc/passwd"):
        response = await session.request("GET", f"files/{path}/content")
        assert response.status_code == 404, path
    assert await session.names() == []
    assert (await session.upload("x", b"x", path="root")).status_code == 400
    # A file may take a link's place; what the link pointed to stays as it was.
    assert (await session.upload("link", b"replaced")).status_code == 200


async def test_a_link_that_is_swapped_in_during_the_request_leads_nowhere(
    session: PoolClient,
) -> None:
    await session.result(
        "import os, threading\n"
        "def swap():\n"
        "    while not os.path.exists('/mnt/data/stop'):\n"
        "        open('/mnt/data/f', 'w').write('mine'); os.unlink('/mnt/data/f')\n"
        "        os.symlink('/etc/passwd', '/mnt/data/f'); os.unlink('/mnt/data/f')\n"
        "threading.Thread(target=swap).start()"
    )
    for _ in range(100):
        response = await session.request("GET", "files/f/content")
        assert response.status_code == 404 or (
            response.status_code == 200 and response.content in (b"", b"mine")
        )
    await session.upload("stop", b"")


async def test_pipes_neither_block_nor_appear(session: PoolClient) -> None:
    await session.result("import os; os.mkfifo('/mnt/data/pipe')")
    async with asyncio.timeout(30):
        assert (await session.request("GET", "files/pipe/content")).status_code == 404
        assert await session.names() == []


async def test_odd_names_neither_break_listings_nor_each_other(session: PoolClient) -> None:
    await session.result(
        "import os\n"
        "for name in (b'new\\nline.txt', b'not-utf8-\\xff.txt', b'quote\".txt', b'plain.txt'):\n"
        "    open(b'/mnt/data/' + name, 'w').write('x')"
    )
    assert sorted(await session.names()) == sorted(
        ["new\nline.txt", "not-utf8-\ufffd.txt", 'quote".txt', "plain.txt"]
    )
    for name in (b"new\nline.txt", b"not-utf8-\xff.txt", b'quote".txt'):
        path = f"files/{urllib.parse.quote(name)}/content"
        assert (await session.request("GET", path)).content == b"x"


async def test_deep_trees_and_closed_folders_are_survived(session: PoolClient) -> None:
    await session.result(
        "import os\nos.chdir('/mnt/data')\n"
        "for _ in range(2000):\n    os.mkdir('d'); os.chdir('d')\n"
        "os.chdir('/mnt/data'); os.mkdir('closed'); os.chmod('closed', 0)"
    )
    listed = await session.request("GET", "files", params={"recursive": "true"})
    assert listed.status_code == 200
    assert await session.names() == ["closed", "d"]


async def test_a_tree_of_any_depth_is_listed_and_read(session: PoolClient) -> None:
    await session.result(
        "import os\nos.chdir('/mnt/data')\n"
        "for n in range(300):\n    os.mkdir('d'); os.chdir('d')\n"
        "open('end', 'w').write('deep')\nos.chdir('/')"
    )
    listed = await session.request("GET", "files", params={"recursive": "true"})
    last = listed.json()["value"][-1]
    assert (last["name"], last["directory"]) == ("end", "/".join(["d"] * 300))
    content = await session.request("GET", "files/end/content", params={"path": last["directory"]})
    assert content.content == b"deep"


@pytest.mark.parametrize("mode", [0, 0o100, 0o400, 0o500])
async def test_what_code_closed_to_itself_is_listed_read_and_deleted(
    session: PoolClient, mode: int
) -> None:
    make = (
        "import os\nos.makedirs('/mnt/data/a/b'); open('/mnt/data/a/b/f', 'w').write('closed')\n"
        f"for path in ('a/b/f', 'a/b', 'a'): os.chmod('/mnt/data/' + path, {mode})"
    )
    await session.result(make)
    listed = await session.request("GET", "files", params={"recursive": "true"})
    assert [entry["name"] for entry in listed.json()["value"]] == ["a", "b", "f"]
    inner = await session.request("GET", "files", params={"path": "a/b"})
    assert [entry["name"] for entry in inner.json()["value"]] == ["f"]
    assert (await session.request("GET", "files/a%2Fb%2Ff")).json()["sizeInBytes"] == 6
    assert (await session.request("GET", "files/a%2Fb%2Ff/content")).content == b"closed"
    kept = await session.result("os.stat('/mnt/data/a').st_mode & 0o777")
    assert kept["executionResult"] == mode
    assert (await session.request("DELETE", "files/a%2Fb%2Ff")).status_code == 204
    assert (await session.request("DELETE", "files/a")).status_code == 204
    assert await session.names() == []


CLOSED = (0, 0o100, 0o200, 0o400, 0o500, 0o700)


@pytest.mark.parametrize("mode", CLOSED, ids=oct)
async def test_an_upload_arrives_in_a_folder_that_code_closed_or_made_read_only(
    session: PoolClient, mode: int
) -> None:
    await session.result(
        "import os\nos.makedirs('/mnt/data/a/b'); open('/mnt/data/a/b/f', 'w').write('old')\n"
        "try:\n    os.chmod('/mnt/data/a/b/f', 0)\n"
        f"finally:\n    for path in ('a/b', 'a', ''): os.chmod('/mnt/data/' + path, {mode})"
    )
    uploads = [("f", "a/b"), ("new", "a/b"), ("deep", "a/b/c/d"), ("top", "")]
    for name, folder in uploads:
        assert (await session.upload(name, name.encode(), path=folder)).status_code == 200
    # The permissions stay, for code in the session too; what is uploaded can be read.
    found = await session.result(
        "modes = [os.stat('/mnt/data').st_mode & 0o777]\nos.chmod('/mnt/data', 0o700)\n"
        "for path in ('/mnt/data/a', '/mnt/data/a/b'):\n"
        "    modes.append(os.stat(path).st_mode & 0o777); os.chmod(path, 0o700)\n"
        f"[modes, *(open(f'/mnt/data/{{folder}}/{{name}}').read() for name, folder in {uploads})]"
    )
    assert found["executionResult"] == [[mode] * 3, *(name for name, _ in uploads)]


async def test_many_requests_at_once_in_a_closed_folder_all_succeed_and_it_stays_closed(
    session: PoolClient,
) -> None:
    await session.result("import os; os.mkdir('/mnt/data/a', 0)")
    names = [f"{n}" for n in range(20)]
    uploads = [session.upload(name, b"x", path="a") for name in names]
    lists = [session.request("GET", "files", params={"path": "a"}) for _ in names]
    mixed = [each for pair in zip(uploads, lists, strict=True) for each in pair]
    answers = await asyncio.gather(*mixed)
    assert {answer.status_code for answer in answers} == {200}
    deletions = [session.request("DELETE", f"files/a%2F{name}") for name in names[1:]]
    assert {answer.status_code for answer in await asyncio.gather(*deletions)} == {204}
    left = await session.request("GET", "files", params={"path": "a"})
    assert [entry["name"] for entry in left.json()["value"]] == ["0"]
    mode = await session.result("os.stat('/mnt/data/a').st_mode & 0o777")
    assert mode["executionResult"] == 0


# What a request answers that meets something else than a file or folder: upload to it, upload below
# it, its metadata, its content, its listing, its deletion.
IN_THE_WAY = {
    "os.mkfifo(path)": (200, 400, 404, 404, 404, 204),
    "os.symlink('/etc', path)": (200, 400, 404, 404, 404, 204),
    "os.symlink('nowhere', path)": (200, 400, 404, 404, 404, 204),
    "os.symlink('it', path)": (200, 400, 404, 404, 404, 204),
    "os.mkdir('/mnt/data/t'); os.symlink('t', path)": (200, 400, 404, 404, 404, 204),
    "socket.socket(socket.AF_UNIX).bind(path)": (200, 400, 404, 404, 404, 204),
    "open(path, 'w').close(); os.chmod(path, 0)": (200, 400, 200, 200, 404, 204),
    "os.mkdir(path)": (400, 200, 200, 404, 200, 204),
    "os.mkdir(path, 0)": (400, 200, 200, 404, 200, 204),
}


@pytest.mark.parametrize("make", IN_THE_WAY)
async def test_what_is_in_the_way_of_a_request_has_its_answer(
    session: PoolClient, make: str
) -> None:
    statuses = []
    for method, path, query in (
        ("POST", "files", {}),
        ("POST", "files", {"path": "it"}),
        ("GET", "files/it", {}),
        ("GET", "files/it/content", {}),
        ("GET", "files", {"path": "it"}),
        ("DELETE", "files/it", {}),
    ):
        await session.result(
            "import os, shutil, socket\npath = '/mnt/data/it'\n"
            "for each in os.listdir('/mnt/data'):\n    each = '/mnt/data/' + each\n"
            "    try:\n        os.unlink(each)\n    except OSError:\n"
            f"        os.chmod(each, 0o700); shutil.rmtree(each)\n{make}"
        )
        files = {"files": {"file": ("it", b"x")}} if method == "POST" else {}
        response = await session.request(method, path, params=query, **files)
        statuses.append(response.status_code)
        if response.status_code >= 400:
            assert response.json()["error"]["message"]
    assert tuple(statuses) == IN_THE_WAY[make]


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOMEM, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "files"),
        ("GET", "files/a.txt"),
        ("GET", "files/a.txt/content"),
        ("DELETE", "files/a.txt"),
        ("POST", "files"),
    ],
)
async def test_a_file_that_this_machine_cannot_open_is_not_called_missing(
    session: PoolClient, monkeypatch: pytest.MonkeyPatch, method: str, path: str, code: int
) -> None:
    await session.upload("a.txt", b"a")

    def fails(*_: Any) -> int:
        ctypes.set_errno(code)
        return -1

    files = {"files": {"file": ("a.txt", b"new")}} if method == "POST" else {}
    with monkeypatch.context() as patch:
        patch.setattr(safe_open, "_libc", SimpleNamespace(syscall=fails))
        response = await session.request(method, path, **files)
    assert response.status_code == 500
    assert os.strerror(code) in response.json()["error"]["message"]
    assert (await session.request("GET", "files/a.txt/content")).content == b"a"


async def test_a_name_is_found_as_it_is_listed(session: PoolClient) -> None:
    await session.result(
        "import os\nos.mkdir(b'/mnt/data/\\xfe')\n"
        "for name in (b'\\xfe/\\xff.txt', b'1\\xff', b'1\\xfe', b'2\\xff', '2\ufffd'.encode()):\n"
        "    open(b'/mnt/data/' + name, 'wb').write(repr(name).encode())"
    )
    listed = await session.request("GET", "files", params={"recursive": "true"})
    inner = listed.json()["value"][-1]
    assert (inner["directory"], inner["name"]) == ("\ufffd", "\ufffd.txt")
    contents = []
    for name, folder in (("\ufffd.txt", "\ufffd"), ("2\ufffd", ""), ("1\ufffd", "")):
        path = f"files/{urllib.parse.quote(name)}"
        query = {"path": folder}
        contents.append((await session.request("GET", f"{path}/content", params=query)).text)
        described = await session.request("GET", path, params=query)
        assert described.status_code == (404 if name[0] == "1" else 200)
    assert contents[:2] == [r"b'\xfe/\xff.txt'", r"b'2\xef\xbf\xbd'"]
    assert "2 files are listed as 1\ufffd" in contents[2]
    assert (await session.request("DELETE", "files/2%EF%BF%BD")).status_code == 204
    assert (await session.request("DELETE", "files/2%EF%BF%BD")).status_code == 204


async def test_a_sparse_file_is_as_large_as_it_says(session: PoolClient) -> None:
    await session.result("open('/mnt/data/sparse', 'wb').truncate(5_000_000)")
    response = await session.request("GET", "files/sparse/content")
    assert len(response.content) == 5_000_000


@pytest.mark.parametrize("announced", [False, True])
async def test_a_file_larger_than_128_mb_is_refused(session: PoolClient, announced: bool) -> None:
    head = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'

    async def body() -> AsyncIterator[bytes]:
        yield head
        for _ in range(130):
            yield bytes(1 << 20)

    headers = {"content-type": "multipart/form-data; boundary=x"}
    if announced:
        headers["content-length"] = str(len(head) + (130 << 20))
    response = await session.request("POST", "files", content=body(), headers=headers)
    assert response.status_code == 413


async def test_a_file_that_does_not_fit_leaves_nothing_behind(open_pool: OpenPool) -> None:
    small = PoolOptions(preload=(), limits=SessionLimits(data_bytes=4 << 20))
    async with open_pool(small) as client:
        response = await client.upload("large.bin", bytes(6 << 20))
        assert response.status_code == 507
        assert await client.names() == []
        assert (await client.upload("fits.bin", bytes(3 << 20))).status_code == 200


async def test_an_upload_that_the_disk_cannot_take_is_an_error_of_the_service(
    session: PoolClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = functools.partial(Path("/dev/full").open, "r+b", buffering=0)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda *_, **__: full())
    response = await session.upload("large.bin", bytes(2 << 20))
    assert response.status_code == 507
    assert response.json()["error"]["code"] == "InsufficientStorage"
    assert "No space left on device" in response.json()["error"]["message"]
    monkeypatch.undo()
    assert (await session.upload("large.bin", bytes(2 << 20))).status_code == 200
    assert await session.names() == ["large.bin"]


async def test_a_form_without_a_file_is_refused(session: PoolClient) -> None:
    response = await session.request("POST", "files", data={"other": "x"})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "SessionRequestValidationFailed"


async def test_strict_takes_documented_names_only(open_pool: OpenPool) -> None:
    async with open_pool(PoolOptions(strict=True, preload=())) as client:
        assert (await client.upload("a+b.csv", b"x")).status_code == 400
        assert (await client.upload("a.txt", b"x", path="v1.0")).status_code == 400
        assert (await client.upload("ü (1).csv", b"x")).status_code == 200


async def test_files_are_never_those_of_another_session(session: PoolClient) -> None:
    """Sessions end while their files are read; numbers of descriptors are used again."""

    async def once(n: int) -> int:
        client = session.of()
        await client.upload(f"{client.identifier}.txt", client.identifier.encode())
        reads = [client.request("GET", "files", params={"recursive": "true"}) for _ in range(5)]
        *listed, _ = await asyncio.gather(*reads, client.request("DELETE", "session"))
        names = [e["name"] for response in listed for e in response.json().get("value", [])]
        assert set(names) - {f"{client.identifier}.txt"} == set()
        return len(names)

    assert sum(await asyncio.gather(*(once(n) for n in range(20)))) > 0


NAMES = [
    *(
        b"a'b",
        b"a+b",
        b"[x]",
        b"a:b",
        b'"q"',
        b"-dash",
        b"a b",
        b"%41",
        b"a%2Fb",
        b"a?b#c",
        b"a\nb",
    ),
    *(b"a\\b", b"...", b".hidden", b"x" * 255, b"content", b"a;b=c", b"~", b"\x01", b" lead"),
    *(b"trail ", b".upload-x", b"\xff.txt", "🎉.txt".encode(), "漢字".encode()),
    *("e\u0301".encode(), "\u00e9".encode(), "\u00a0".encode(), "\u202etxt".encode()),
]


async def test_every_name_of_a_file_system_is_listed_fetched_and_deleted(
    session: PoolClient,
) -> None:
    await session.result(
        f"for name in {NAMES!r}:\n    open(b'/mnt/data/' + name, 'wb').write(name)"
    )
    listed = await session.names()
    assert sorted(listed) == sorted(name.decode("utf-8", "replace") for name in NAMES)
    for name in NAMES:
        path = f"files/{quote_from_bytes(name, safe='')}"
        assert (await session.request("GET", f"{path}/content")).content == name
        assert (await session.request("GET", path)).json()["sizeInBytes"] == len(name)
        assert (await session.request("DELETE", path)).status_code == 204
    assert await session.names() == []
