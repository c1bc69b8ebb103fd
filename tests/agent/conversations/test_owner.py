"""Who owns a conversation, and that nobody else comes to its session."""

import logging
import re
from dataclasses import replace

import pytest
from starlette.datastructures import Headers

from agent.conversations.owner import (
    ANONYMOUS,
    IdentifierKey,
    Owner,
    owner_of,
    pool_identifier,
)
from agent.errors import SignInRequiredError

PRINCIPAL = {"X-MS-CLIENT-PRINCIPAL-ID": "0a1b", "X-MS-CLIENT-PRINCIPAL-IDP": "aad"}
KEY = IdentifierKey(bytes(range(32)))
ID = "0123456789abcdef0123456789abcdef"


def test_the_signed_in_principal_owns_the_conversation() -> None:
    assert owner_of(Headers(PRINCIPAL), sign_in=True) == Owner("aad", "0a1b")


def test_without_sign_in_the_headers_are_the_callers_words_and_count_for_nothing() -> None:
    assert owner_of(Headers(PRINCIPAL), sign_in=False) == ANONYMOUS
    assert owner_of(Headers({}), sign_in=False) == ANONYMOUS


@pytest.mark.parametrize("missing", PRINCIPAL)
@pytest.mark.parametrize("empty", [True, False])
def test_with_sign_in_a_request_without_principal_is_refused(missing: str, empty: bool) -> None:
    headers = PRINCIPAL | {missing: ""} if empty else {missing: PRINCIPAL[missing]}
    with pytest.raises(SignInRequiredError) as refused:
        owner_of(Headers(headers), sign_in=True)
    assert refused.value.status == 401


def test_each_owner_has_a_folder_of_a_plain_name() -> None:
    owners = [ANONYMOUS, Owner("aad", "0a1b"), Owner("google", "0a1b"), Owner("aa", "d0a1b")]
    folders = {owner.folder for owner in owners}
    assert len(folders) == len(owners)
    assert all(re.fullmatch("[a-z0-9]{1,32}", folder) for folder in folders)
    assert Owner("aad", "anonymous").folder != ANONYMOUS.folder


@pytest.mark.parametrize("owner", [Owner("aad", "0a1b"), Owner("aad", ""), Owner("", "0a1b")])
def test_only_the_owner_without_any_name_is_anonymous(owner: Owner) -> None:
    assert ANONYMOUS.is_anonymous
    assert not owner.is_anonymous
    assert owner.folder != ANONYMOUS.folder


def test_a_pool_identifier_is_always_the_same_and_one_that_the_pool_takes() -> None:
    owner = Owner("aad", "0a1b")
    identifier = pool_identifier(KEY, owner, ID)
    assert identifier == pool_identifier(IdentifierKey(bytes(range(32))), owner, ID)
    assert re.fullmatch("[a-z0-9-]{32,64}", identifier)


def test_key_owner_and_conversation_each_change_the_identifier() -> None:
    owner = Owner("aad", "0a1b")
    identifiers = {
        pool_identifier(KEY, owner, ID),
        pool_identifier(KEY, replace(owner, principal_id="0a1c"), ID),
        pool_identifier(KEY, ANONYMOUS, ID),
        pool_identifier(KEY, owner, ID[::-1]),
        pool_identifier(IdentifierKey(b"\x01" * 32), owner, ID),
    }
    assert len(identifiers) == 5


def test_an_identifier_says_nothing_of_what_it_is_made_of() -> None:
    identifier = pool_identifier(KEY, Owner("aad", "0a1b"), ID)
    assert ID not in identifier
    assert KEY.secret.hex() not in identifier


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"{length} bytes"):
        IdentifierKey(b"x" * length)


def test_logs_show_neither_key_nor_principal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    owner = Owner("aad", "alice@example.org")
    logging.getLogger("agent").warning("%s %r", KEY, owner)
    assert "IdentifierKey" in caplog.text
    assert "alice" not in caplog.text
    assert repr(KEY.secret) not in caplog.text
