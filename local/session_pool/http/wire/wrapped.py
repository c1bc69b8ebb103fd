"""The old generation, until 2024-08-02-preview: bodies wrapped in `properties`."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from local.session_pool.errors import PropertiesMissingError
from local.session_pool.files.tree import FileEntry, printable
from local.session_pool.http.wire.flat import ExecutionBody, validation_failed
from local.session_pool.http.wire.values import json_bytes, timestamp
from local.session_pool.pool.execution import ExecutionRequest, Outcome


@dataclass(frozen=True)
class WrappedWire:
    """Shapes of the old generation."""

    def execution_request(self, body: bytes) -> ExecutionRequest:
        """See `Wire`."""
        try:
            wrapped = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise PropertiesMissingError("The request body is not JSON.", "properties") from error
        properties = wrapped.get("properties") if isinstance(wrapped, dict) else None
        # The clients of this generation differ: pythonCode was the word of its first months.
        if isinstance(properties, dict) and "code" not in properties:
            properties["code"] = properties.get("pythonCode")
        if not isinstance(properties, dict) or properties["code"] is None:
            raise PropertiesMissingError(
                "The request body must have 'properties' with the property 'code'.", "properties"
            )
        try:
            return ExecutionBody.model_validate(properties).request()
        except ValidationError as error:
            raise validation_failed(error) from error

    def execution(
        self, operation_id: str, identifier: str, request: ExecutionRequest, outcome: Outcome
    ) -> Iterator[bytes]:
        """See `Wire`."""
        head = {
            "$id": "2",
            "status": "Success" if outcome.succeeded else "Failure",
            "stdout": outcome.stdout,
            "stderr": outcome.stderr,
        }
        yield b'{"$id":"1","properties":' + json_bytes(head)[:-1] + b',"result":'
        # AutoGen's client takes a list apart line by line, as Jupyter prints it.
        yield from outcome.result_json(text_only=True)
        yield b',"executionTimeInMilliseconds":%d}}' % outcome.duration_ms

    def file(self, entry: FileEntry) -> dict[str, Any]:
        """See `Wire`."""
        return self.file_list([entry])

    def uploaded(self, entry: FileEntry) -> dict[str, Any]:
        """See `Wire`."""
        return self.file_list([entry])

    def file_list(self, entries: list[FileEntry]) -> dict[str, Any]:
        """See `Wire`."""
        return {
            "$id": "1",
            "value": [
                {
                    "$id": str(2 * n + 2),
                    "properties": {
                        "$id": str(2 * n + 3),
                        "filename": _path_of(entry),
                        "size": entry.size_bytes,
                        "lastModifiedTime": timestamp(entry.modified_at),
                    },
                }
                for n, entry in enumerate(e for e in entries if not e.is_directory)
            ],
        }


def _path_of(entry: FileEntry) -> str:
    name = printable(entry.name)
    return f"{printable(entry.directory)}/{name}" if entry.directory else name
