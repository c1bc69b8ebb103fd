"""Tools that do all that tools can do; a module of the packages that tests write."""

import asyncio
import ssl
import threading
from dataclasses import dataclass
from typing import Annotated, Literal

import aiohttp
from azure.core.credentials_async import AsyncTokenCredential
from pydantic import Field

from agent.toolkit.authoring import (
    ToolError,
    ToolFile,
    ToolResult,
    ToolSettings,
    kernel_function,
)


class Greeting(ToolSettings):
    greeting: str = ""

    @property
    def is_on(self) -> bool:
        return bool(self.greeting)


class Switch(ToolSettings):
    switched_on: bool = False

    @property
    def is_on(self) -> bool:
        return self.switched_on


class Greeter:
    def __init__(
        self,
        settings: Greeting,
        http: aiohttp.ClientSession,
        credential: AsyncTokenCredential,
        tls: ssl.SSLContext,
        punctuation: str | None = None,
    ) -> None:
        self._settings = settings
        self.for_the_model = f"It says: {settings.greeting}."
        assert not http.closed
        assert tls.check_hostname
        assert punctuation is None
        self._credential = credential

    @kernel_function
    async def greet(self, name: Annotated[str, "whom"]) -> str:
        """Greets."""
        return f"{self._settings.greeting}, {name}"


class Crowd:
    """Counts its calls that run at once."""

    def __init__(self) -> None:
        self._here = self._most = 0

    @kernel_function
    async def crowd(self) -> int:
        """How many ran at once at most."""
        self._here += 1
        self._most = max(self._most, self._here)
        await asyncio.sleep(0.01)
        self._here -= 1
        return self._most


class TurnedOff:
    def __init__(self, http: aiohttp.ClientSession, settings: Switch) -> None:
        raise AssertionError("it is off")

    @kernel_function
    def turned_off(self) -> str:
        """Is not there."""
        return ""


class Meeting:
    """Opened with the worker's clients."""

    async def __aenter__(self) -> None:
        self._all_here = asyncio.Barrier(2)
        self._ended = ""

    async def __aexit__(self, *_: object) -> None:
        await self._all_here.abort()

    @kernel_function
    async def meet(self, me: str) -> str:
        """Waits for another one."""
        await self._all_here.wait()
        return f"{me} met {'b' if me == 'a' else 'a'}"

    @kernel_function
    async def later(self, event: str) -> str:
        """Ends after a call of `add`."""
        ADDED.clear()
        await ADDED.wait()
        return f"{event} at last"

    @kernel_function
    async def wait(self) -> None:
        """Waits for ever."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self._ended = "cancelled"
            raise

    @kernel_function
    async def how_it_ended(self) -> str:
        """How `wait` ended."""
        return self._ended


ADDED = asyncio.Event()


@kernel_function
async def add(a: int, b: int) -> int:
    """Adds."""
    ADDED.set()
    return a + b


@kernel_function
def describe(
    kind: Literal["short", "long"] = "long",
    limit: Annotated[Annotated[int, Field(ge=1, le=10)] | None, "at most so many"] = 3,
) -> dict[str, object]:
    """Describes.

    In some words.
    """
    return {"kind": kind, "limit": limit}


@dataclass
class Point:
    x: int
    y: int


@kernel_function
def made(point: Point) -> Point:
    """Turns it."""
    return Point(point.y, point.x)


@kernel_function
async def nothing() -> str:
    """Says nothing."""
    return ""


@kernel_function
def in_a_thread() -> str:
    """Tells where it runs."""
    here = threading.current_thread() is threading.main_thread()
    return "the loop's" if here else "not the loop's"


@kernel_function
async def refuse() -> str:
    """Refuses."""
    raise ToolError("Only on Sundays.")


@kernel_function
async def crash() -> str:
    """Crashes."""
    return {"a": "b"}["sec" + "ret"]


@kernel_function
async def cancel_itself() -> str:
    """Raises what a caller's leaving raises."""
    raise asyncio.CancelledError


@kernel_function
def leave() -> str:
    """Wants to end the process."""
    raise SystemExit("sec" + "ret")


@kernel_function
async def give_bytes() -> bytes:
    """Gives bytes."""
    return b"secret"


@kernel_function
async def give_object() -> object:
    """Gives an object."""
    return object()


@kernel_function
async def give_half_characters() -> str:
    """Gives what is no Unicode."""
    return "half: \ud83d"


@kernel_function
async def give_wrong_file() -> ToolResult:
    """Gives a file that is none."""
    return ToolResult("", files=["secret"])  # type: ignore[list-item]  # a mistake that only an author without mypy can make, who is told of it when the tool is called


@kernel_function
async def give_much() -> list[int]:
    """Gives much."""
    return list(range(1_000_000))


@kernel_function
async def bring(names: list[str]) -> ToolResult:
    """Brings files."""
    return ToolResult(f"{len(names)} files", [ToolFile(name, b"1") for name in names])


@kernel_function
async def bring_big() -> ToolResult:
    """Brings a large file."""
    return ToolResult("2 MB", (ToolFile("big.bin", bytes(2 * 1024**2)),))
