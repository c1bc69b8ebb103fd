"""Modules of routes are imported when they are needed, once."""

import asyncio
import importlib
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from agent.http.dispatch import preload


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
