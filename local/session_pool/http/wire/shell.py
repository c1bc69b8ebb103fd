"""A pool of type Shell: commands instead of Python, in the versions that know it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from local.session_pool.errors import PropertiesMissingError
from local.session_pool.http.wire.flat import FlatWire, validation_failed
from local.session_pool.http.wire.values import json_bytes
from local.session_pool.pool.execution import (
    DEFAULT_TIMEOUT_S,
    MAX_TIMEOUT_S,
    ExecutionRequest,
    Outcome,
)

# What a shell answers for a command that was ended because it took too long.
_TIMED_OUT_CODE = 124


class CommandBody(BaseModel):
    """Body of POST /executions of a Shell pool: one of the two commands."""

    model_config = ConfigDict(extra="ignore", strict=True)

    shell_command: Annotated[str | None, Field(alias="shellCommand")] = None
    arguments: Annotated[list[str] | None, Field(alias="execCommandAndArgs", min_length=1)] = None
    timeout_s: Annotated[int, Field(alias="timeoutInSeconds", ge=1)] = DEFAULT_TIMEOUT_S


@dataclass(frozen=True)
class ShellWire(FlatWire):
    """Shapes of executions of a Shell pool; files are as everywhere."""

    def execution_request(self, body: bytes) -> ExecutionRequest:
        """See `Wire`."""
        try:
            command = CommandBody.model_validate_json(body)
        except ValidationError as error:
            raise validation_failed(error) from error
        arguments = command.arguments
        if command.shell_command is not None:
            arguments = ["/bin/bash", "-c", command.shell_command]
        if not self.version.has_sessions or arguments is None:
            raise PropertiesMissingError(
                "A Shell session executes 'shellCommand' or 'execCommandAndArgs', in API version"
                " 2025-02-02-preview or later.",
                "shellCommand",
            )
        request = ExecutionRequest(
            code=f"__import__('subprocess').call({arguments!r})",
            timeout_s=min(command.timeout_s, MAX_TIMEOUT_S),
        )
        return replace(request, empty_kernel=True)

    def execution(
        self, operation_id: str, identifier: str, request: ExecutionRequest, outcome: Outcome
    ) -> Iterator[bytes]:
        """See `Wire`."""
        value = outcome.reply.frame.value if outcome.reply is not None else None
        exit_code = value if isinstance(value, int) else _TIMED_OUT_CODE
        yield json_bytes(
            {
                "id": operation_id,
                "identifier": identifier,
                # Its clients read the exit code here.
                "status": str(exit_code),
                "exitCode": exit_code,
                "errorName": "" if outcome.succeeded else "ExecutionFailed",
                "errorMessage": "" if outcome.succeeded else outcome.stderr,
                "result": {
                    "stdout": outcome.stdout,
                    "stderr": outcome.stderr,
                    "executionTimeInMilliseconds": outcome.duration_ms,
                },
            }
        )
