"""The way to a route: callers that it refuses, and the import of its module."""

import asyncio
import importlib
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from agent.http.dispatch import dispatch, preload

SIGNED_IN = {"x-ms-client-principal-id": "ada", "x-ms-client-principal-idp": "aad"}
SITE = "sec-fetch-site"


async def answer(
    route: str, headers: Mapping[str, str], *, sign_in_required: bool = True
) -> Response:
    given = SIGNED_IN | dict(headers)
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    return await dispatch(route, Request(scope), sign_in_required=sign_in_required)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense", ""])
async def test_another_site_may_not_use_the_sign_in_of_its_reader(site: str) -> None:
    refused = await answer("openapi", {SITE: site})
    assert refused.status_code == 403
    assert b"CrossSiteRequest" in refused.body


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {SITE: "same-origin"},
        {SITE: "none"},
        {SITE: "cross-site", "authorization": "Bearer token"},
    ],
    ids=["no browser", "the app's own page", "the address bar", "a token"],
)
async def test_everybody_else_who_signed_in_is_let_through(headers: dict[str, str]) -> None:
    assert (await answer("openapi", headers)).status_code == 200


@pytest.mark.parametrize("route", ["page", "health_live"])
async def test_what_is_open_to_all_may_be_linked_to(route: str) -> None:
    assert (await answer(route, {SITE: "cross-site"})).status_code == 200


async def test_where_a_key_decides_the_site_does_not() -> None:
    answered = await answer("openapi", {SITE: "cross-site"}, sign_in_required=False)
    assert answered.status_code == 200


class CountingExecutor(ThreadPoolExecutor):
    """Runs work in threads and counts it."""

    count = 0

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        self.count += 1
        return super().submit(fn, *args, **kwargs)


async def test_a_turn_imports_the_module_of_the_next_in_a_thread_only_if_it_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module: Any = importlib.import_module("agent.http.capabilities")
    threads = CountingExecutor(1)
    asyncio.get_running_loop().set_default_executor(threads)
    preload("capabilities")
    assert threads.count == 0
    monkeypatch.delitem(sys.modules, module.__name__)
    preload("capabilities")
    assert threads.count == 1
    threads.shutdown()
    assert module.__name__ in sys.modules
