"""Removes the references to each request that the Functions worker library would never release.

azure-functions-runtime 1.3.0 makes a reference per invocation and never removes it: 2.2 KB each,
400 MB an hour at 50 requests a second. Once it has handed the answer over, nobody asks for the
reference again. This module can go when the library removes references itself, which
tests/agent/http/test_worker_references.py finds out.
"""

import asyncio
import sys
from inspect import signature
from typing import Any


def forget_answered_requests() -> bool:
    """Have the library forget each request with its answer; tells whether it could be had.

    Where the library is not there, or is not as it is known, nothing is changed.
    """
    library = sys.modules.get("azure_functions_runtime.http_v2")
    coordinator = getattr(library, "http_coordinator", None)
    references = getattr(coordinator, "_context_references", None)
    take_response = getattr(coordinator, "_pop_http_response", None)
    if not isinstance(references, dict) or not callable(take_response):
        return False
    if asyncio.iscoroutinefunction(take_response) or len(signature(take_response).parameters) != 1:
        return False

    def take_response_and_forget(invocation_id: str) -> Any:
        response = take_response(invocation_id)
        references.pop(invocation_id, None)
        return response

    # Of the one object, which is all that the library uses.
    coordinator._pop_http_response = take_response_and_forget  # type: ignore[union-attr]  # getattr's default: it has the attributes looked at above, so it is not None
    return True
