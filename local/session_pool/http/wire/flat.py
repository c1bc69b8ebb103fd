"""The new generation, 2024-10-02-preview and later: flat bodies."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from local.session_pool.errors import PropertiesMissingError, ValidationFailedError
from local.session_pool.files.tree import FileEntry, printable
from local.session_pool.http.api_versions import ApiVersion
from local.session_pool.http.wire.jupyter import JupyterFormat, outputs_json
from local.session_pool.http.wire.values import (
    content_type,
    json_bytes,
    state_of,
    timestamp,
)
from local.session_pool.pool.execution import (
    DEFAULT_OUTPUT_CHARS,
    DEFAULT_TIMEOUT_S,
    MAX_OUTPUT_CHARS,
    MAX_TIMEOUT_S,
    ExecutionRequest,
    Outcome,
)

_JUPYTER_FLAG = "returnJupyterFormatExecutionResult"


class ExecutionBody(BaseModel):
    """Body of POST /executions; words are taken in any case, unknown properties ignored."""

    model_config = ConfigDict(extra="ignore", strict=True)

    code: str
    code_input_type: Annotated[str, Field(alias="codeInputType")] = "Inline"
    execution_type: Annotated[str, Field(alias="executionType")] = "Synchronous"
    timeout_s: Annotated[int, Field(alias="timeoutInSeconds", ge=1)] = DEFAULT_TIMEOUT_S
    output_max_chars: Annotated[int, Field(alias="outputStreamsMaxLength", ge=0)] = (
        DEFAULT_OUTPUT_CHARS
    )
    empty_kernel: Annotated[bool, Field(alias="useEmptyKernel")] = False
    jupyter_result: Annotated[bool, Field(alias=_JUPYTER_FLAG)] = False

    def request(self) -> ExecutionRequest:
        """Return what it asks for.

        Raises:
            ValidationFailedError: a word that the service does not know.
        """
        kind = self.execution_type.lower()
        if kind not in ("synchronous", "asynchronous"):
            raise ValidationFailedError(
                f"executionType is Synchronous or Asynchronous, not {self.execution_type!r}.",
                "executionType",
            )
        return ExecutionRequest(
            code=decode_code(self.code, self.code_input_type),
            timeout_s=min(self.timeout_s, MAX_TIMEOUT_S),
            output_max_chars=min(self.output_max_chars, MAX_OUTPUT_CHARS),
            asynchronous=kind == "asynchronous",
            execution_type=self.execution_type,
            jupyter_result=self.jupyter_result,
            empty_kernel=self.empty_kernel,
        )


def decode_code(code: str, input_type: str) -> str:
    """Return the source that `code` holds.

    Raises:
        ValidationFailedError: it does not.
    """
    match input_type.lower():
        case "inline" | "inlinetext":
            return code
        case "inlinebase64":
            try:
                return base64.b64decode(code, validate=True).decode()
            except ValueError as error:
                raise ValidationFailedError("The code is not base64 of UTF-8.", "code") from error
    raise ValidationFailedError(
        f"codeInputType is Inline, InlineText or InlineBase64, not {input_type!r}.", "codeInputType"
    )


def validation_failed(error: ValidationError) -> ValidationFailedError:
    """Say which field of a body is wrong."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    return ValidationFailedError(f"{field or 'body'}: {first['msg']}.", field or "body")


@dataclass(frozen=True)
class FlatWire:
    """Shapes of one version of the new generation.

    Attributes:
        version: of the request.
        strict: as recorded from the service where that differs from the specification.
        jupyter_format: what the answer to `returnJupyterFormatExecutionResult` is.
    """

    version: ApiVersion
    strict: bool
    jupyter_format: JupyterFormat = "list"

    def execution_request(self, body: bytes) -> ExecutionRequest:
        """See `Wire`."""
        try:
            request = ExecutionBody.model_validate_json(body).request()
        except ValidationError as error:
            if any(e["type"] == "missing" and e["loc"] == ("code",) for e in error.errors()):
                raise PropertiesMissingError(
                    "The request body must have the property 'code' at its top level.", "code"
                ) from error
            raise validation_failed(error) from error
        if request.jupyter_result and self.jupyter_format == "refused":
            raise ValidationFailedError(
                f"The property '{_JUPYTER_FLAG}' is not supported.", _JUPYTER_FLAG
            )
        return request

    def execution(
        self, operation_id: str, identifier: str, request: ExecutionRequest, outcome: Outcome
    ) -> Iterator[bytes]:
        """See `Wire`."""
        head = self.execution_state(operation_id, identifier, request, state_of(outcome))
        yield json_bytes(head)[:-1] + b',"result":{'
        yield b'"$id":"2",' if self._numbered else b""
        streams = {"stdout": outcome.stdout, "stderr": outcome.stderr}
        yield json_bytes(streams)[1:-1] + b',"executionResult":'
        if request.jupyter_result and self.jupyter_format != "ignored":
            yield from outputs_json(outcome, self.jupyter_format)
        else:
            yield from outcome.result_json()
        yield b',"executionTimeInMilliseconds":%d}}' % outcome.duration_ms

    def execution_state(
        self, operation_id: str, identifier: str, request: ExecutionRequest, status: str
    ) -> dict[str, Any]:
        """An execution without its result."""
        return {
            **({"$id": "1"} if self._numbered else {}),
            "id": operation_id,
            "identifier": identifier,
            "executionType": request.execution_type,
            "status": status,
        }

    def file(self, entry: FileEntry) -> dict[str, Any]:
        """See `Wire`."""
        kind = "directory" if entry.is_directory else "file"
        described: dict[str, Any] = {
            "name": printable(entry.name),
            "type": kind,
            "contentType": "" if entry.is_directory else content_type(entry.name),
            "sizeInBytes": entry.size_bytes,
            "lastModifiedAt": timestamp(entry.modified_at),
        }
        if self.version.lists_deep:
            described["directory"] = printable(entry.directory) or "."
        return described

    def uploaded(self, entry: FileEntry) -> dict[str, Any]:
        """See `Wire`."""
        described = self.file(entry)
        if self.strict and not self.version.lists_deep:
            # Recorded from the service: both are empty right after an upload.
            described |= {"type": "", "contentType": ""}
        return {"$id": "1", **described} if self._numbered else described

    def file_list(self, entries: list[FileEntry]) -> dict[str, Any]:
        """See `Wire`."""
        listed = {"value": [self.file(entry) for entry in entries]}
        return {"$id": "1", **listed} if self._numbered else listed

    @property
    def _numbered(self) -> bool:
        """The service's serializer numbers its objects, until 2025-10-02."""
        return self.strict and not self.version.lists_deep
