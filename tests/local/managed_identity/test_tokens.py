import jwt
import pytest

from local.managed_identity import SYSTEM_ASSIGNED, Claims, ManagedIdentity, TokenRefusedError
from tests.local.managed_identity.conftest import Clock

OPENAI = "https://cognitiveservices.azure.com"


def refusal(identity: ManagedIdentity, authorization: str | None) -> str:
    with pytest.raises(TokenRefusedError) as caught:
        identity.verifier(OPENAI).verify(authorization)
    return caught.value.reason


def test_minted_token_carries_the_claims_of_entra(identity: ManagedIdentity) -> None:
    token = identity.mint(OPENAI, lifetime_s=3600)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["nbf"] == claims["iat"]
    assert claims["aud"] == OPENAI
    assert claims["appid"] == SYSTEM_ASSIGNED.client_id
    assert claims["oid"] == claims["sub"] == SYSTEM_ASSIGNED.object_id
    assert claims["iss"] == f"https://sts.windows.net/{claims['tid']}/"
    assert jwt.get_unverified_header(token)["alg"] == "RS256"


@pytest.mark.parametrize("audience", [OPENAI, f"{OPENAI}/"])
@pytest.mark.parametrize("expected", [OPENAI, f"{OPENAI}/"])
def test_last_slash_of_the_audience_does_not_matter(
    identity: ManagedIdentity, audience: str, expected: str
) -> None:
    claims = identity.verifier(expected).verify(f"bearer {identity.mint(audience)}")
    assert claims.audience == audience


def test_service_may_go_by_several_audiences(identity: ManagedIdentity) -> None:
    verifier = identity.verifier("https://dynamicsessions.io", "https://acasessions.io")
    claims = verifier.verify(f"Bearer {identity.mint('https://acasessions.io')}")
    assert isinstance(claims, Claims)


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Basic eDp5", "api-key"])
def test_request_without_a_bearer_token_is_refused(
    identity: ManagedIdentity, authorization: str | None
) -> None:
    assert "no bearer token" in refusal(identity, authorization)


def test_token_for_another_service_is_refused(identity: ManagedIdentity) -> None:
    token = identity.mint("https://dynamicsessions.io")
    assert refusal(identity, f"Bearer {token}") == f"the token is not for {OPENAI}"


def test_token_of_another_issuer_is_refused(identity: ManagedIdentity) -> None:
    stranger = ManagedIdentity()
    assert "Signature" in refusal(identity, f"Bearer {stranger.mint(OPENAI)}")


def test_unsigned_token_is_refused(identity: ManagedIdentity) -> None:
    claims = jwt.decode(identity.mint(OPENAI), options={"verify_signature": False})
    unsigned = jwt.encode(claims, "", algorithm="none")
    assert "not valid" in refusal(identity, f"Bearer {unsigned}")


def test_garbage_is_refused(identity: ManagedIdentity) -> None:
    assert "not valid" in refusal(identity, "Bearer not.a.token")


def test_token_minted_as_expired_is_refused(identity: ManagedIdentity) -> None:
    token = identity.mint(OPENAI, lifetime_s=-1)
    assert refusal(identity, f"Bearer {token}") == "the token has expired"


def test_token_is_accepted_until_it_expires_and_not_after(clock: Clock) -> None:
    identity = ManagedIdentity(clock=clock)
    authorization = f"Bearer {identity.mint(OPENAI, lifetime_s=60)}"
    clock.now += 60
    assert identity.verifier(OPENAI).verify(authorization).expires_at == clock.now
    clock.now += 1
    assert refusal(identity, authorization) == "the token has expired"


def test_token_from_the_future_is_refused(clock: Clock) -> None:
    identity = ManagedIdentity(clock=clock)
    authorization = f"Bearer {identity.mint(OPENAI)}"
    clock.now -= 301
    assert refusal(identity, authorization) == "the token is not valid yet"
