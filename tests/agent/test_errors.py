"""Every error has a code of its own and says what to do; docs/errors.md has all of them."""

import re
from collections.abc import Iterator

from agent import errors
from agent.errors import AgentError, frames_of
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


def test_an_error_is_logged_without_its_words_or_those_of_what_led_to_it() -> None:
    def read() -> None:
        try:
            int("private-1")
        except ValueError:
            raise KeyError("private-2")  # noqa: B904 - an error while another is handled
        finally:
            raise ExceptionGroup("private-3", [OSError("private-4")])

    try:
        read()
    except ExceptionGroup as error:
        logged = frames_of(error)
    assert "private" not in re.sub(r'"private-\d"', "", logged)  # the lines of this file
    parts = re.findall("(?:which became |one of |^)([A-Za-z]+), raised at$", logged, re.MULTILINE)
    assert parts == ["ValueError", "KeyError", "OSError", "ExceptionGroup"]


def test_an_error_that_led_to_itself_is_logged_once() -> None:
    error = ValueError()
    error.__cause__ = error
    assert frames_of(error).count("ValueError") == 1
