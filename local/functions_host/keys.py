"""Function keys: who may call a function.

https://learn.microsoft.com/azure/azure-functions/function-keys-how-to
"""

import hmac

from starlette.requests import HTTPConnection
from starlette.types import Scope

from local.functions_host.routes import AuthLevel


class FunctionKey:
    """Checks the one key of this host, which stands for Azure's host key and master key.

    Args:
        key: None lets everybody in, as Core Tools does.
    """

    def __init__(self, key: str | None) -> None:
        self._key = key

    @property
    def is_set(self) -> bool:
        """Whether callers need a key."""
        return self._key is not None

    def admits(self, scope: Scope, level: AuthLevel) -> bool:
        """Say whether a request may call a function of this auth level.

        The key travels in the header x-functions-key or in the query as `code`.
        """
        if self._key is None or level == "anonymous":
            return True
        request = HTTPConnection(scope)
        key = request.headers.get("x-functions-key") or request.query_params.get("code") or ""
        return hmac.compare_digest(key.encode(), self._key.encode())
