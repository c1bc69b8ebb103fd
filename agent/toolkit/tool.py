"""One own tool: what the model is told of it, its arguments, and a call of it."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Annotated, Any, Final, NotRequired, TypedDict, get_type_hints

from pydantic import (
    ConfigDict,
    Field,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
    with_config,
)
from pydantic_core import PydanticSerializationError, to_json

from agent.errors import frames_of
from agent.events import ExecutionStatus
from agent.frozen import frozen
from agent.model.kernel import declare
from agent.model.sdk import KernelFunction
from agent.model.tool_calls import ObjectTool
from agent.telemetry import log_content, logger
from agent.toolkit.authoring import ToolError, ToolFile, ToolResult

_FAULTS_MAX: Final = 3


@frozen
class Returned:
    """What a call came to.

    Attributes:
        status: `Failed` where it raised or ran out of time.
        text: for the model, of any length.
        files: for the session.
    """

    status: ExecutionStatus
    text: str
    files: Sequence[ToolFile] = ()


class Arguments:
    """The arguments of a function, as JSON brings them.

    Attributes:
        names: of the parameters, in order.
        schema: JSON schema of the object.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        """Read the function's signature.

        Raises:
            TypeError: it is not one that a model can call; the message says why.
        """
        hints = get_type_hints(function, include_extras=True)
        fields: dict[str, Any] = {}
        self._optional: set[str] = set()
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise TypeError(f"`{parameter}` is no parameter with a name")
            if name not in hints:
                raise TypeError(f"`{name}` has no type")
            fields[name] = _described(hints[name])
            if parameter.default is not parameter.empty:
                self._optional.add(name)
                fields[name] = NotRequired[fields[name]]
        # What is left out is not there: the function has its own defaults.
        shape: Any = TypedDict("Arguments", fields)  # type: ignore[misc]  # mypy reads literal fields alone: these are a tool's parameters, known when it is loaded
        forbidding = with_config(ConfigDict(extra="forbid"))(shape)
        try:
            self._adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(forbidding)
            self.schema = self._adapter.json_schema()
        except PydanticUserError as error:
            raise TypeError(str(error).partition("\n")[0]) from error
        self.names = tuple(fields)
        # A title says a name again: tokens for nothing.
        for part in (self.schema, *self.schema.get("properties", {}).values()):
            part.pop("title", None)

    def read(self, given: Mapping[str, object]) -> dict[str, Any]:
        """The values, of the types that the function takes.

        A null for what may be left out, or for what there is not, is how some models leave it out.

        Raises:
            ValueError: these are no such arguments; the message names them.
        """
        try:
            return self._adapter.validate_json(to_json(given))
        except ValidationError as error:
            fewer = {
                name: value
                for name, value in given.items()
                if value is not None or (name in self.names and name not in self._optional)
            }
            if len(fewer) < len(given):
                return self.read(fewer)
            raise ValueError(_faults(error)) from None


@frozen
class OwnTool:
    """A function that the model may call.

    Attributes:
        name: by which it does.
        timeout_s: how long a call may take.
        declared: what Semantic Kernel tells the model.
        shape: how its calls are read.
        places: for calls that run at once in this worker; None: as many as there are.
    """

    name: str
    timeout_s: float
    declared: KernelFunction = field(repr=False)
    shape: ObjectTool = field(repr=False)
    places: asyncio.Semaphore | None = field(repr=False)
    _function: Callable[..., Any] = field(repr=False)
    _arguments: Arguments = field(repr=False)

    @classmethod
    def of(
        cls, function: Callable[..., Any], timeout_s: float, at_once: int | None = None
    ) -> "OwnTool":
        """The tool that a function marked with `@kernel_function` is.

        Raises:
            TypeError: it is not one that a model can call; the message says why.
        """
        declared: Any = function
        if declared.__kernel_function_streaming__:
            raise TypeError("it must return its result, not yield it")
        if not (declared.__kernel_function_description__ or "").strip():
            raise TypeError("it has no docstring, so the model would not know when to call it")
        arguments = Arguments(function)

        def check(given: Mapping[str, object]) -> None:
            arguments.read(given)

        name = declared.__kernel_function_name__
        owner = getattr(function, "__self__", None)
        return cls(
            name,
            timeout_s,
            declare(function, arguments.schema, getattr(owner, "for_the_model", "")),
            ObjectTool(name, arguments.names, check),
            asyncio.Semaphore(at_once) if at_once else None,
            function,
            arguments,
        )

    @asynccontextmanager
    async def place(self, deadline: float) -> AsyncIterator[bool]:
        """A place for a call, as long as the block; False if there was none before the deadline.

        Args:
            deadline: event-loop time.
        """
        if self.places is None:
            yield True
            return
        try:
            async with asyncio.timeout_at(deadline):
                await self.places.acquire()
        except TimeoutError:
            taken = False
        else:
            taken = True
        try:
            yield taken
        finally:
            if taken:
                self.places.release()

    async def call(self, given: Mapping[str, object], *, timeout_s: float) -> Returned:
        """Call the function; whatever it does becomes a result.

        Args:
            given: arguments that `shape` has checked.
            timeout_s: how long it may take.
        """
        task = asyncio.ensure_future(self._run(self._arguments.read(given)))
        # One that is not to be stopped goes on alone; what becomes of it is nobody's concern.
        task.add_done_callback(_forget)
        try:
            await asyncio.wait({task}, timeout=timeout_s)
        finally:
            task.cancel()
        if not task.done():
            return Returned("Failed", f"The tool did not end within {timeout_s:.0f} s.")
        try:
            return _returned(task.result())
        except ToolError as error:
            return Returned("Failed", str(error) or "The tool failed.")
        except (Exception, asyncio.CancelledError) as error:
            logger.error("tool %s failed: %s", self.name, frames_of(error))
            log_content("output", str(error))
            return Returned("Failed", f"The tool failed: {type(error).__name__}.")

    async def _run(self, values: dict[str, Any]) -> Any:
        try:
            if inspect.iscoroutinefunction(self._function):
                return await self._function(**values)
            # It may compute or wait: the worker's other turns go on meanwhile.
            value = await asyncio.to_thread(self._function, **values)
            return await value if inspect.isawaitable(value) else value
        except SystemExit as error:
            # It would end the event loop, and the worker with it.
            raise RuntimeError("the tool wanted to end the process") from error


def _forget(ended: asyncio.Future[Any]) -> None:
    if not ended.cancelled():
        ended.exception()


def _described(hint: Any) -> Any:
    """A type whose words are a description of the parameter, as Semantic Kernel takes them."""
    if not (words := getattr(hint, "__metadata__", ())):
        return hint
    said = (Field(description=word) if isinstance(word, str) else word for word in words)
    return Annotated[hint.__origin__, *said]


def _returned(value: Any) -> Returned:
    result = value if isinstance(value, ToolResult) else ToolResult(value)
    files: tuple[Any, ...] = tuple(result.files)
    for file in files:
        if not isinstance(file, ToolFile) or not isinstance(file.content, bytes | bytearray):
            raise TypeError("files are ToolFile objects whose content is bytes")
    if isinstance(result.value, str):
        return Returned("Succeeded", result.value, files)
    try:
        if isinstance(result.value, bytes | bytearray | memoryview):
            raise ToolError("The tool returned bytes, not a text.")
        text = to_json(result.value, bytes_mode="base64").decode()
    except PydanticSerializationError:
        raise ToolError(
            f"The tool returned a {type(result.value).__name__}, which is no text."
        ) from None
    return Returned("Succeeded", text, files)


def _faults(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    told = [_fault(".".join(map(str, fault["loc"])), fault) for fault in faults[:_FAULTS_MAX]]
    if more := len(faults) - len(told):
        told.append(f"{more} more")
    return "; ".join(told)


def _fault(name: str, fault: Mapping[str, Any]) -> str:
    match fault["type"]:
        case "missing":
            return f"`{name}` is missing"
        case "extra_forbidden":
            return f"it has an unexpected argument: {name}"
    return f"`{name}`: {fault['msg']}"
