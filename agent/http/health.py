"""`/api/health`: is the app alive, and does it reach all that a turn needs?

Asking costs no session, and the model one token a minute.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from agent.errors import AgentError
from agent.http.bodies import json_response
from agent.http.dispatch import Route
from agent.http.schemas import CheckSchema, HealthSchema
from agent.runtime import Runtime, get_runtime

TIMEOUT_S: Final = 15
# No session has it: the pool's own identifiers are longer. Asking whether one has makes none.
NO_SESSION: Final = "health-check"


async def _live(_: Request) -> Response:
    return json_response(HealthSchema(status="alive", checks={}))


async def _ready(_: Request) -> Response:
    health = await readiness(await get_runtime())
    return json_response(health, status=200 if health.status == "ready" else 503)


async def readiness(runtime: Runtime) -> HealthSchema:
    """The state of everything that a turn needs, asked at once; the model's is a minute old."""
    deadline = asyncio.get_running_loop().time() + TIMEOUT_S
    checks: dict[str, Callable[[], Awaitable[object]]] = {
        "model": lambda: runtime.model_probe.check(deadline=deadline)
    }
    if sessions := runtime.turns.sessions:
        checks["session_pool"] = lambda: sessions.is_alive(NO_SESSION, deadline=deadline)
    if runtime.keeps_conversations:
        checks["conversations"] = lambda: _reach_store(runtime)
    results = await asyncio.gather(*(_result(check) for check in checks.values()))
    by_name = dict(zip(checks, results, strict=True))
    ready = all(check.ok for check in results)
    return HealthSchema(
        status="ready" if ready else "not ready",
        checks=by_name,
        tools=list(runtime.turns.tool_names),
    )


async def _reach_store(runtime: Runtime) -> None:
    await (await runtime.conversations()).store.check()


async def _result(check: Callable[[], Awaitable[object]]) -> CheckSchema:
    try:
        await check()
    except AgentError as error:
        return CheckSchema(ok=False, code=error.code, detail=error.detail)
    return CheckSchema(ok=True)


ROUTES: Final = {"health_live": Route({"GET": _live}), "health_ready": Route({"GET": _ready})}
