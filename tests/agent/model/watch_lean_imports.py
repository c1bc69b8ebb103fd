"""Run by test_lean_imports.py in a process of its own: turns, with every stand-in watched."""

import asyncio
from typing import Any

from agent.model import lean_imports

used: list[str] = []


class Watched(type):
    """Metaclass that notes whatever is done with a stand-in."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        used.append(f"{type.__getattribute__(cls, '__name__')}()")
        return super().__call__(*args, **kwargs)

    def __instancecheck__(cls, instance: object) -> bool:
        used.append(f"isinstance {type.__getattribute__(cls, '__name__')}")
        return super().__instancecheck__(instance)

    def __getattribute__(cls, name: str) -> Any:
        used.append(f"{type.__getattribute__(cls, '__name__')}.{name}")
        return super().__getattribute__(name)


def main() -> None:
    """Have every stand-in that is made from now on watched, then answer turns."""
    lean_imports.Unused = Watched("Unused", (Exception,), dict(vars(lean_imports.Unused)))  # type: ignore[assignment, misc]  # mypy takes a class for what nobody replaces: here that is the watch
    from tests.agent.model import watched_turns

    asyncio.run(watched_turns.answer(used))


if __name__ == "__main__":
    main()
