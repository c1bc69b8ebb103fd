"""The official client library, unchanged, gets its tokens from the endpoint."""

import asyncio
from collections.abc import Callable
from typing import Protocol

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline.transport import AsyncioRequestsTransport
from azure.identity import CredentialUnavailableError, DefaultAzureCredential
from azure.identity import ManagedIdentityCredential as SyncManagedIdentityCredential
from azure.identity.aio import DefaultAzureCredential as AioDefaultAzureCredential
from azure.identity.aio import ManagedIdentityCredential

from local.managed_identity import SYSTEM_ASSIGNED, ManagedIdentity
from tests.local.managed_identity.conftest import USER_ASSIGNED

OPENAI = "https://cognitiveservices.azure.com"
SCOPE = f"{OPENAI}/.default"

pytestmark = pytest.mark.usefixtures("app_service")


class SyncCredential(Protocol):
    def get_token(self, *scopes: str) -> AccessToken: ...

    def close(self) -> None: ...


async def token_from(make: Callable[[], SyncCredential], scope: str = SCOPE) -> AccessToken:
    def get() -> AccessToken:
        credential = make()
        try:
            return credential.get_token(scope)
        finally:
            credential.close()

    return await asyncio.to_thread(get)


@pytest.mark.parametrize("make", [DefaultAzureCredential, SyncManagedIdentityCredential])
async def test_sync_credential_gets_a_token_that_the_verifier_accepts(
    identity: ManagedIdentity, make: Callable[[], SyncCredential]
) -> None:
    token = await token_from(make)
    claims = identity.verifier(OPENAI).verify(f"Bearer {token.token}")
    assert claims.object_id == SYSTEM_ASSIGNED.object_id
    assert abs(claims.expires_at - token.expires_on) <= 1


@pytest.mark.parametrize("credential_type", [AioDefaultAzureCredential, ManagedIdentityCredential])
async def test_aio_credential_gets_a_token_that_the_verifier_accepts(
    identity: ManagedIdentity,
    credential_type: type[AioDefaultAzureCredential] | type[ManagedIdentityCredential],
) -> None:
    async with credential_type(transport=AsyncioRequestsTransport()) as credential:
        token = await credential.get_token_info(SCOPE)
    claims = identity.verifier(OPENAI).verify(f"Bearer {token.token}")
    assert claims.expires_at == token.expires_on
    assert token.refresh_on is not None


async def test_azure_client_id_picks_the_user_assigned_identity(
    identity: ManagedIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_CLIENT_ID", USER_ASSIGNED.client_id)
    async with AioDefaultAzureCredential(transport=AsyncioRequestsTransport()) as credential:
        aio_token = await credential.get_token(SCOPE)
    sync_token = await token_from(DefaultAzureCredential)
    for token in (aio_token, sync_token):
        claims = identity.verifier(OPENAI).verify(f"Bearer {token.token}")
        assert claims.client_id == USER_ASSIGNED.client_id


@pytest.mark.parametrize(
    "config", [{"resource_id": USER_ASSIGNED.resource_id}, {"object_id": USER_ASSIGNED.object_id}]
)
async def test_identity_config_of_the_sync_credential_picks_the_user_assigned_identity(
    identity: ManagedIdentity, config: dict[str, str]
) -> None:
    token = await token_from(lambda: SyncManagedIdentityCredential(identity_config=config))
    claims = identity.verifier(OPENAI).verify(f"Bearer {token.token}")
    assert claims.client_id == USER_ASSIGNED.client_id


async def test_unknown_client_id_reaches_the_developer_as_app_services_message() -> None:
    with pytest.raises(CredentialUnavailableError, match="No User Assigned or Delegated"):
        await token_from(lambda: SyncManagedIdentityCredential(client_id="someone-else"))
    transport = AsyncioRequestsTransport()
    async with ManagedIdentityCredential(client_id="x", transport=transport) as credential:
        with pytest.raises(ClientAuthenticationError, match="No User Assigned or Delegated"):
            await credential.get_token(SCOPE)


async def test_wrong_identity_header_reaches_the_developer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "guess")
    with pytest.raises(ClientAuthenticationError, match="is not the value of IDENTITY_HEADER"):
        await token_from(SyncManagedIdentityCredential)


async def test_unknown_resource_reaches_the_developer() -> None:
    with pytest.raises(CredentialUnavailableError, match=r"no resource 'https://example\.com'"):
        await token_from(
            lambda: SyncManagedIdentityCredential(retry_total=0),
            "https://example.com/.default",
        )
