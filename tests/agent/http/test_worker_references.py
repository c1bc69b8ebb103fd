"""The worker library lets go of what has been answered, as long as it has the known shape."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from azure_functions_runtime.http_v2 import HttpCoordinator, SingletonMeta

from agent.http.worker_references import forget_answered_requests

LIBRARY = "azure_functions_runtime.http_v2"


@pytest.fixture
def coordinator(monkeypatch: pytest.MonkeyPatch) -> Any:
    """One of the library's own, in the place of the process's."""
    # Its class makes a single object: the tests need one that nobody else has seen.
    fresh = super(SingletonMeta, HttpCoordinator).__call__()
    monkeypatch.setattr(sys.modules[LIBRARY], "http_coordinator", fresh)
    return fresh


async def answer_one(coordinator: Any) -> None:
    """What the library does for each request."""
    coordinator.set_http_request("an-id", "a request")
    assert await coordinator.get_http_request_async("an-id") == "a request"
    coordinator.set_http_response("an-id", "a response")
    assert await coordinator.await_http_response_async("an-id") == "a response"


async def test_an_answered_request_is_forgotten(coordinator: Any) -> None:
    assert forget_answered_requests()
    await answer_one(coordinator)
    assert coordinator._context_references == {}


async def test_a_request_that_waits_for_its_answer_is_not(coordinator: Any) -> None:
    assert forget_answered_requests()
    coordinator.set_http_request("another", "a request")
    await answer_one(coordinator)
    assert list(coordinator._context_references) == ["another"]


async def test_the_library_still_keeps_them_itself(coordinator: Any) -> None:
    """When this fails, agent/http/worker_references.py has nothing to do any more: remove it."""
    await answer_one(coordinator)
    assert list(coordinator._context_references) == ["an-id"]


async def _awaited(invocation_id: str) -> object:
    return invocation_id


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(None, id="no coordinator"),
        pytest.param(SimpleNamespace(_pop_http_response=str), id="no references"),
        pytest.param(
            SimpleNamespace(_context_references=[], _pop_http_response=str), id="other references"
        ),
        pytest.param(SimpleNamespace(_context_references={}), id="no way to take an answer"),
        pytest.param(
            SimpleNamespace(_context_references={}, _pop_http_response=lambda: None),
            id="taken without an id",
        ),
        pytest.param(
            SimpleNamespace(_context_references={}, _pop_http_response=_awaited), id="awaited"
        ),
    ],
)
def test_a_library_of_another_shape_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, other: object
) -> None:
    monkeypatch.setattr(sys.modules[LIBRARY], "http_coordinator", other)
    before = dict(vars(other)) if other else {}
    assert not forget_answered_requests()
    assert (vars(other) if other else {}) == before


def test_where_the_library_is_not_loaded_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, LIBRARY)
    assert not forget_answered_requests()
