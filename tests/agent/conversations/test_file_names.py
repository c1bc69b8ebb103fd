"""Names of files: which are taken, and what type they mean."""

import unicodedata

import pytest

from agent.conversations.file_names import checked_name
from agent.errors import InvalidRequestError


@pytest.mark.parametrize(
    "name", ["data.csv", "a b-c_d.@$&=;,#%^().x", "数据.csv", "année.txt", ".hidden", "x" * 255]
)
def test_a_name_that_the_session_pool_takes_is_taken(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        ".",
        "..",
        "a.",
        "a/b",
        "..\\b",
        "a\x00b",
        "a\nb",
        'a"b',
        "a<b>",
        "a:b",
        "a*b?",
        "a|b",
        "a~b",
        "a+b",
        "\ud800",
        "x\u202egnp.exe",
        "x" * 256,
        "é" * 128,
    ],
)
def test_any_other_name_is_refused_with_the_rule(name: str) -> None:
    with pytest.raises(InvalidRequestError, match="letters, digits") as refused:
        checked_name(name)
    assert refused.value.field == "name"


def test_one_name_in_two_spellings_of_unicode_is_one_name() -> None:
    spelled = unicodedata.normalize("NFD", "Résumé.pdf")
    assert spelled != "Résumé.pdf"
    assert checked_name(spelled) == "Résumé.pdf"
