"""The identifiers that the service accepts. Its sources disagree.

Documentation: 4-128 alphanumeric characters and ``|-&^%$#(){}[];<>``.
Specification 2024-10-02: 1-256 of ``A-Za-z0-9-_``.
Specification 2025-10-02: 4-128 of a wide set.
"""

import re

from local.session_pool.errors import ValidationFailedError

# What all of them take, and what any of them takes.
_STRICT = re.compile(r"[A-Za-z0-9-]{4,128}")
_LENIENT = re.compile(r"""[A-Za-z0-9_|}{\[\]:";'<>?/.,@#$%^&*()\-+=!~`]{1,256}""")


def check_identifier(identifier: str | None, *, strict: bool) -> str:
    """Return the identifier of a request.

    Raises:
        ValidationFailedError: it is missing or has a form that the service refuses.
    """
    if not identifier:
        raise ValidationFailedError("The query parameter 'identifier' is missing.", "identifier")
    if not (_STRICT if strict else _LENIENT).fullmatch(identifier):
        allowed = (
            "4-128 letters, digits and '-'" if strict else "1-256 of the documented characters"
        )
        raise ValidationFailedError(f"The identifier is not valid: {allowed}.", "identifier")
    return identifier
