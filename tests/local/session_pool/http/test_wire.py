"""Both API generations on the wire, against the specification and against recordings."""

from collections.abc import AsyncIterator

import httpx2
import jsonschema
import pytest
import pytest_asyncio

from local.session_pool import PoolOptions
from local.session_pool.http.api_versions import API_VERSIONS
from tests.local.session_pool.conftest import OpenPool
from tests.local.session_pool.http import shapes
from tests.support.pool_client import PoolClient

pytestmark = pytest.mark.asyncio(loop_scope="session")

FLAT = [name for name, version in API_VERSIONS.items() if version.is_flat]
WRAPPED = [name for name, version in API_VERSIONS.items() if not version.is_flat]
EXECUTE = {"codeInputType": "inline", "executionType": "synchronous", "timeoutInSeconds": 60}


def matches(response: httpx2.Response, schema: shapes.Schema) -> None:
    jsonschema.validate(response.json(), schema)


@pytest.mark.parametrize("version", FLAT)
async def test_the_new_generation_matches_its_specification(
    session: PoolClient, version: str
) -> None:
    client = session.of(version=version)
    for code in ("print('hi')", "1", "1/0", "import time; time.sleep(9)"):
        body = EXECUTE | {"code": code, "timeoutInSeconds": 1}
        matches(await client.request("POST", "executions", json=body), shapes.EXECUTION)
    matches(await client.upload("a.csv", b"x"), shapes.FILE)
    matches(await client.request("GET", "files"), shapes.FILE_LIST)
    matches(await client.request("GET", "files/a.csv"), shapes.FILE)
    matches(await client.request("GET", "files/b.csv"), shapes.ERROR)
    assert (await client.request("GET", "files/a.csv/content")).content == b"x"
    assert (await client.request("DELETE", "files/a.csv")).status_code == 204
    if API_VERSIONS[version].has_sessions:
        matches(await client.request("GET", "session"), shapes.SESSION)
        matches(await client.request("GET", "listSessions"), shapes.SESSION_LIST)
        matches(await client.request("GET", "metadata"), shapes.METADATA)


@pytest.mark.parametrize("version", WRAPPED)
async def test_the_old_generation_matches_recordings_and_its_clients(
    session: PoolClient, version: str
) -> None:
    client = session.of(version=version)
    for path in ("code/execute", "code/execute/"):
        body = {"properties": EXECUTE | {"code": "print('hello world')\n1 + 1"}}
        response = await client.request("POST", path, json=body)
        matches(response, shapes.OLD_EXECUTION)
        properties = response.json()["properties"]
        assert properties["status"] == "Success"
        assert (properties["stdout"], properties["result"]) == ("hello world\n", 2)
    response = await client.request(
        "POST", "code/execute", json={"properties": EXECUTE | {"code": "1/0"}}
    )
    matches(response, shapes.OLD_EXECUTION)
    assert response.json()["properties"]["status"] == "Failure"
    assert "ZeroDivisionError" in response.json()["properties"]["stderr"]
    files = {"file": ("/mnt/data/sub/a.txt", b"text", "application/octet-stream")}
    uploaded = await client.request("POST", "files/upload", files=files)
    listed = await client.request("GET", "files")
    for response in (uploaded, listed):
        matches(response, shapes.OLD_FILE_LIST)
        assert response.json()["value"][0]["properties"]["size"] == 4
    assert listed.json()["value"][0]["properties"]["filename"] == "sub/a.txt"
    matches(await client.request("GET", "files/sub/a.txt"), shapes.OLD_FILE_LIST)
    assert (await client.request("GET", "files/content/sub/a.txt")).content == b"text"
    assert (await client.request("DELETE", "files/sub/a.txt")).status_code == 204
    described = (await client.request("POST", ".management/getSession")).json()
    assert described["identifier"] == client.identifier
    assert "expiresAt" in described
    listing = (await client.request("POST", ".management/listSessions")).json()
    assert listing["count"] == len(listing["value"])


async def test_an_image_is_the_result_in_both_generations(session: PoolClient) -> None:
    code = "import matplotlib.pyplot as plt\nplt.plot([1]); plt.show()"
    new = (await session.result(code))["executionResult"]
    old = await session.of(version=WRAPPED[0]).request(
        "POST", "code/execute", json={"properties": EXECUTE | {"code": code}}
    )
    matches(old, shapes.OLD_EXECUTION)
    assert old.json()["properties"]["result"].keys() == new.keys()


async def test_a_list_is_a_list_in_the_new_generation_and_text_in_the_old(
    session: PoolClient,
) -> None:
    assert (await session.result("[1, 'two']"))["executionResult"] == [1, "two"]
    old = await session.of(version=WRAPPED[0]).request(
        "POST", "code/execute", json={"properties": EXECUTE | {"code": "[1, 'two']"}}
    )
    assert old.json()["properties"]["result"] == "[1, 'two']"


async def test_words_are_taken_in_any_case_and_repeated(session: PoolClient) -> None:
    for word in ("Synchronous", "synchronous"):
        answer = await session.execute("1", executionType=word, codeInputType="INLINE")
        assert answer["executionType"] == word


async def test_only_code_is_needed_and_unknown_properties_are_ignored(
    session: PoolClient,
) -> None:
    body = {"code": "1", "identifier": "other", "sanitizeInput": True}
    assert (await session.request("POST", "executions", json=body)).status_code == 200


async def test_executions_carry_the_services_headers_and_files_do_not(
    session: PoolClient,
) -> None:
    response = await session.request("POST", "executions", json=EXECUTE | {"code": "1"})
    for name in (
        "x-ms-overall-execution-time",
        "x-ms-preparation-time",
        "x-ms-execution-request-time",
        "x-ms-execution-read-response-time",
    ):
        assert float(response.headers[name]) >= 0
    assert response.headers["x-ms-session-guid"]
    assert "operation-location" not in response.headers
    listed = await session.request("GET", "files")
    assert "x-ms-session-guid" not in listed.headers


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def strict(open_pool: OpenPool) -> AsyncIterator[PoolClient]:
    async with open_pool(PoolOptions(strict=True, preload=())) as client:
        yield client


class TestStrict:
    """As recorded from the service, where it differs from its specification."""

    async def test_the_first_new_version_answers_202_and_numbers_its_objects(
        self, strict: PoolClient
    ) -> None:
        client = strict.of(version="2024-10-02-preview")
        body = EXECUTE | {"code": 'print("Hello world")'}
        response = await client.request("POST", "executions", json=body)
        assert response.status_code == 202
        assert "operation-location" not in response.headers
        answer = response.json()
        assert answer.pop("id")
        assert answer["result"].pop("executionTimeInMilliseconds") >= 0
        assert answer == {
            "$id": "1",
            "identifier": client.identifier,
            "executionType": "synchronous",
            "status": "Succeeded",
            "result": {
                "$id": "2",
                "stdout": "Hello world\n",
                "stderr": "",
                "executionResult": "",
            },
        }

    async def test_later_versions_answer_200(self, strict: PoolClient) -> None:
        for version in ("2025-02-02-preview", "2025-10-02-preview"):
            client = strict.of(version=version)
            response = await client.request("POST", "executions", json=EXECUTE | {"code": "1"})
            assert response.status_code == 200

    async def test_an_upload_says_neither_type_nor_content_type(self, strict: PoolClient) -> None:
        client = strict.of(version="2024-10-02-preview")
        uploaded = (await client.upload("cert.txt", b"1234567")).json()
        assert uploaded.pop("lastModifiedAt")
        assert uploaded == {
            "$id": "1",
            "name": "cert.txt",
            "type": "",
            "contentType": "",
            "sizeInBytes": 7,
        }

    async def test_the_newest_version_lists_without_numbers(self, strict: PoolClient) -> None:
        await strict.upload("a.txt", b"x")
        listed = (await strict.request("GET", "files")).json()
        assert listed.keys() == {"value"}
        assert listed["value"][0]["directory"] == "."
