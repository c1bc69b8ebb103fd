"""Is the app alive, and has it all that a turn needs? Asking costs no tokens and no session."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from agent.errors import AgentError
from agent.model import check_access
from agent.runtime import Runtime
from agent.schemas import CheckSchema, HealthSchema

TIMEOUT_S: Final = 15
# No session has it: the pool's own identifiers are longer. Asking whether one has makes none.
NO_SESSION: Final = "health-check"


async def readiness(opened: Runtime) -> HealthSchema:
    """What a turn needs, each tried now and all at once."""
    deadline = asyncio.get_running_loop().time() + TIMEOUT_S
    checks: dict[str, Callable[[], Awaitable[object]]] = {
        "model": lambda: check_access(opened.turns.model, deadline=deadline)
    }
    if sessions := opened.turns.sessions:
        checks["session_pool"] = lambda: sessions.is_alive(NO_SESSION, deadline=deadline)
    if opened.keeps_conversations:
        checks["conversations"] = lambda: _reach_store(opened)
    results = await asyncio.gather(*(_result(check) for check in checks.values()))
    named = dict(zip(checks, results, strict=True))
    ready = all(check.ok for check in results)
    return HealthSchema(status="ready" if ready else "not ready", checks=named)


async def _reach_store(opened: Runtime) -> None:
    # Any store answers this; a new one makes its key.
    await (await opened.conversations()).store.identifier_key()


async def _result(check: Callable[[], Awaitable[object]]) -> CheckSchema:
    try:
        await check()
    except AgentError as error:
        return CheckSchema(ok=False, code=error.code, detail=error.detail)
    return CheckSchema(ok=True)
