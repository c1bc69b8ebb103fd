"""Values that both API generations share on the wire."""

import json
import mimetypes
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Protocol

from local.session_pool.files.tree import FileEntry
from local.session_pool.pool.execution import ExecutionRequest, Outcome, Status


class Wire(Protocol):
    """The shapes of one API version."""

    def execution_request(self, body: bytes) -> ExecutionRequest:
        """Read the body of an execution; raises `PoolError`."""

    def execution(
        self, operation_id: str, identifier: str, request: ExecutionRequest, outcome: Outcome
    ) -> Iterator[bytes]:
        """Yield the JSON of a finished execution."""

    def file(self, entry: FileEntry) -> dict[str, Any]:
        """One file's metadata."""

    def uploaded(self, entry: FileEntry) -> dict[str, Any]:
        """The answer to an upload."""

    def file_list(self, entries: list[FileEntry]) -> dict[str, Any]:
        """A listing."""


def timestamp(moment: datetime) -> str:
    """RFC 3339 with the service's seven digits."""
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}0Z"


def content_type(name: str) -> str:
    """Media type of a file by its name."""
    guessed, encoding = mimetypes.guess_type(name)
    return guessed if guessed and not encoding else "application/octet-stream"


def state_of(outcome: Outcome) -> Status:
    """The state of a finished execution."""
    return "Succeeded" if outcome.succeeded else "Failed"


def json_bytes(value: object) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
