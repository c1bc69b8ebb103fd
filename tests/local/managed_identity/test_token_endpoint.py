from datetime import UTC, datetime

import httpx2
import pytest

from local.managed_identity import SYSTEM_ASSIGNED, ManagedIdentity
from tests.local.managed_identity.conftest import USER_ASSIGNED

OPENAI = "https://cognitiveservices.azure.com"
QUERY = {"api-version": "2019-08-01", "resource": OPENAI}


async def ask(
    client: httpx2.AsyncClient, identity: ManagedIdentity, **changes: str | None
) -> httpx2.Response:
    query = {**QUERY, **{name.replace("_version", "-version"): v for name, v in changes.items()}}
    return await client.get(
        "/msi/token",
        params={name: value for name, value in query.items() if value is not None},
        headers={"X-IDENTITY-HEADER": identity.identity_header},
    )


async def test_answer_has_the_fields_of_app_service(
    client: httpx2.AsyncClient, identity: ManagedIdentity
) -> None:
    response = await ask(client, identity)
    body = response.json()
    assert response.status_code == 200
    assert set(body) == {"access_token", "client_id", "expires_on", "resource", "token_type"}
    assert (body["token_type"], body["resource"]) == ("Bearer", OPENAI)
    assert body["client_id"] == SYSTEM_ASSIGNED.client_id
    assert isinstance(body["expires_on"], str)
    assert 86_000 < int(body["expires_on"]) - datetime.now(UTC).timestamp() <= 86_400


async def test_token_passes_the_verifier_of_the_resource_it_was_asked_for(
    client: httpx2.AsyncClient, identity: ManagedIdentity
) -> None:
    body = (await ask(client, identity, resource=f"{OPENAI}/")).json()
    claims = identity.verifier(OPENAI).verify(f"Bearer {body['access_token']}")
    assert claims.audience == f"{OPENAI}/"
    assert claims.object_id == SYSTEM_ASSIGNED.object_id
    assert claims.expires_at == int(body["expires_on"])


@pytest.mark.parametrize(
    ("selector", "value"),
    [
        ("client_id", USER_ASSIGNED.client_id),
        ("client_id", USER_ASSIGNED.client_id.upper()),
        ("mi_res_id", USER_ASSIGNED.resource_id),
        ("object_id", USER_ASSIGNED.object_id),
        ("principal_id", USER_ASSIGNED.object_id),
    ],
)
async def test_user_assigned_identity_is_chosen_by_each_of_its_names(
    client: httpx2.AsyncClient, identity: ManagedIdentity, selector: str, value: str
) -> None:
    body = (await ask(client, identity, **{selector: value})).json()
    assert body["client_id"] == USER_ASSIGNED.client_id
    claims = identity.verifier(OPENAI).verify(f"Bearer {body['access_token']}")
    assert claims.object_id == USER_ASSIGNED.object_id


@pytest.mark.parametrize("selector", ["client_id", "mi_res_id", "object_id", "principal_id"])
async def test_identity_that_the_app_does_not_have_is_refused(
    client: httpx2.AsyncClient, identity: ManagedIdentity, selector: str
) -> None:
    response = await ask(client, identity, **{selector: "someone-else"})
    assert response.status_code == 400
    assert response.json() == {
        "statusCode": 400,
        "message": "No User Assigned or Delegated Managed Identity found for specified"
        " ClientId/ResourceId/PrincipalId.",
    }


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"api_version": None}, 400, "use 2019-08-01"),
        ({"api_version": "2017-09-01"}, 400, "'2017-09-01' is not supported"),
        ({"resource": None}, 400, "'resource' is missing"),
        ({"resource": "https://example.com"}, 500, "no resource 'https://example.com'"),
        ({"clientid": USER_ASSIGNED.client_id}, 400, "clientid"),
        (
            {"client_id": USER_ASSIGNED.client_id, "object_id": USER_ASSIGNED.object_id},
            400,
            "Name one identity",
        ),
    ],
)
async def test_bad_query_is_refused_in_the_shape_of_app_service(
    client: httpx2.AsyncClient,
    identity: ManagedIdentity,
    changes: dict[str, str | None],
    status: int,
    words: str,
) -> None:
    response = await ask(client, identity, **changes)
    body = response.json()
    assert response.status_code == status
    assert body["statusCode"] == status
    assert words in body["message"]
    assert set(body) == {"statusCode", "message"}


@pytest.mark.parametrize("headers", [{}, {"X-IDENTITY-HEADER": "guess"}])
async def test_caller_without_the_identity_header_gets_no_token(
    client: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    response = await client.get("/msi/token", params=QUERY, headers=headers)
    assert response.status_code == 401
    assert response.json()["statusCode"] == 401


async def test_endpoint_answers_get_only(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/msi/token", params=QUERY)).status_code == 405


async def test_app_without_a_system_assigned_identity_must_name_one() -> None:
    identity = ManagedIdentity(system_assigned=None, user_assigned=[USER_ASSIGNED])
    transport = httpx2.ASGITransport(identity.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await ask(client, identity)).status_code == 400
        named = await ask(client, identity, client_id=USER_ASSIGNED.client_id)
        assert named.status_code == 200
