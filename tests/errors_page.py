"""`python -m tests.errors_page`: writes docs/errors.md from agent/errors.py."""

from collections.abc import Iterator
from http import HTTPStatus

from agent import errors
from agent.errors import AgentError
from tests.support import PROJECT

PAGE = PROJECT / "docs" / "errors.md"
_HEAD = """\
# Errors

Whatever goes wrong has a code, the same for ever, that programs can go by. It is in the problem
(`application/problem+json`, RFC 9457: `code`, `status`, `title`, `detail`, `operation_id`,
`field`), in the stream's last event (AG-UI's `RUN_ERROR`), in the checks of
`GET /api/health/ready`, in the log and, for OpenAI's clients, in `error.code`, unless OpenAI has a
code of its own for it ([how](clients.md)). `detail` is about the one occurrence: it names settings,
fields and roles, quotes the words of the model's service, short and without addresses and keys, and
has nothing private in it. `Retry-After` says when to try again: with the status 409, 429 and 503
always, else where the service said so.

| Code | Status | Meaning | What to do | Again later |
|---|---|---|---|---|
"""


def classes() -> Iterator[type[AgentError]]:
    """Every error that has a code of its own, in the order of the module; the base comes last."""
    codes = {AgentError.code}
    for value in vars(errors).values():
        is_error = isinstance(value, type) and issubclass(value, AgentError)
        if is_error and value.code not in codes:
            codes.add(value.code)
            yield value
    yield AgentError


def page() -> str:
    """The whole page."""
    rows = (
        f"| `{error.code}` | {error.status} {HTTPStatus(error.status).phrase} | {error.title} "
        f"| {error.mend} | {'yes' if error.retryable else 'no'} |\n"
        for error in classes()
    )
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page())
