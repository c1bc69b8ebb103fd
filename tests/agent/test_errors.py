"""Every error has a code of its own and says what to do; docs/errors.md has all of them."""

from collections.abc import Iterator

from agent import errors
from agent.errors import AgentError
from tests.errors_page import PAGE, page


def errors_with_parents() -> Iterator[tuple[type[AgentError], type[AgentError]]]:
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, AgentError) and value is not AgentError:
            yield value, value.__mro__[1]


def test_the_page_of_errors_is_what_the_module_says() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.errors_page"


def test_every_error_is_on_the_page() -> None:
    codes = {error.code for error, _ in errors_with_parents()} | {AgentError.code}
    assert len(codes) > 35
    assert {code for code in codes if f"| `{code}` | " not in page()} == set()


def test_an_error_with_its_own_code_has_its_own_words() -> None:
    for error, parent in errors_with_parents():
        if error.code != parent.code:
            assert {"title", "mend"} <= vars(error).keys(), error
            assert error.mend.endswith("."), error
