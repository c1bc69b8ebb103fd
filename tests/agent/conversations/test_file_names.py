"""Names of files: which are taken, and that a store's name for each leads back to it."""

import os
import unicodedata

import pytest

from agent.conversations.file_names import checked_name, name_of_stored, stored_name
from agent.errors import InvalidRequestError
from agent.session_pool.names import is_plain, name_of, path_of
from tests.agent.turns.test_written_files import NAMES


@pytest.mark.parametrize("given", NAMES)
def test_every_name_of_a_file_system_is_taken_and_leads_back(given: str) -> None:
    raw = os.fsencode(given)
    name = name_of(raw)
    assert path_of(name) == raw
    assert checked_name(name) == name
    assert "/" not in stored_name(name)
    assert name_of_stored(stored_name(name)) == name


def test_two_names_are_never_one() -> None:
    names = {name_of(os.fsencode(given)) for given in NAMES}
    assert len(names) == len(set(NAMES)) == len({stored_name(name) for name in names})


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "/", "/a", "a/", "a//b", "a/../b", "../a", "a\x00b", "\ud800"),
        *("x" * 256, "\u00e9" * 128, "/".join("a" * 33), "a/" * 300 + "a"),
        *(r"a\xc3\xa9", r"a\x5cb", "a\nb"),
    ],
)
def test_what_is_no_name_of_a_file_is_refused_with_the_rule(name: str) -> None:
    with pytest.raises(InvalidRequestError, match="at most 255 bytes") as refused:
        checked_name(name)
    assert refused.value.field == "name"


def test_two_spellings_of_unicode_are_two_names() -> None:
    composed, decomposed = (
        unicodedata.normalize(form, "R\u00e9sum\u00e9") for form in ("NFC", "NFD")
    )
    assert checked_name(composed) != checked_name(decomposed)


@pytest.mark.parametrize(
    "name", ["data.csv", "a b-c_d.@$&=;,#%^().x", "\u6570\u636e.csv", "d/a.txt"]
)
def test_a_name_that_the_service_documents_is_plain(name: str) -> None:
    assert is_plain(name)


@pytest.mark.parametrize("name", ["it's", "a+b", "d.e/a", "a ", "a.", "\U0001f600", r"a\x0ab"])
def test_any_other_name_is_not(name: str) -> None:
    assert not is_plain(name)
