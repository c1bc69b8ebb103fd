"""Executions: run now, run later, ask for it."""

import time
import urllib.parse
import uuid
from collections.abc import Iterator

from starlette.responses import Response, StreamingResponse

from local.session_pool.errors import ValidationFailedError
from local.session_pool.http.bodies import read_body
from local.session_pool.http.service_call import Call, json_response
from local.session_pool.http.wire.flat import FlatWire
from local.session_pool.pool.execution import ExecutionRequest, Outcome
from local.session_pool.pool.session import Session

# Answers up to here are sent whole, with their length; larger ones hold an image and are streamed.
_WHOLE_BYTES = 512 << 10


async def execute(call: Call) -> Response:
    """Run code in the identifier's session, which the first call allocates."""
    identifier = call.identifier()
    request = call.wire.execution_request(await read_body(call.request))
    prepared_s = time.monotonic()
    session = await call.services.pool.allocate(identifier)
    allocated_s = time.monotonic()
    operation_id = call.request.headers.get("operation-id") or str(uuid.uuid4())
    if request.asynchronous:
        return _started(call, session, request, operation_id)
    outcome = await session.execute(request)
    session.touch(call.services.pool.now())
    finished_s = time.monotonic()
    headers = {
        "operation-id": operation_id,
        "x-ms-session-guid": session.guid,
        "x-ms-allocation-time": _ms(allocated_s - prepared_s),
        "x-ms-allocation-retries": "0",
        "x-ms-preparation-time": _ms(prepared_s - call.received_s),
        "x-ms-container-execution-duration": str(outcome.duration_ms),
        "x-ms-execution-request-time": _ms(finished_s - allocated_s),
        "x-ms-execution-read-response-time": _ms(time.monotonic() - finished_s),
        "x-ms-overall-execution-time": _ms(finished_s - prepared_s),
        "x-ms-total-execution-service-time": _ms(time.monotonic() - call.received_s),
    }
    pieces = call.wire.execution(operation_id, identifier, request, outcome)
    # Recorded from the service: the first version of the new generation answers 202.
    recorded_202 = call.services.strict and call.version.name == "2024-10-02-preview"
    return _result_response(outcome, pieces, 202 if recorded_202 else 200, headers)


async def get_execution(call: Call) -> Response:
    """Answer with an asynchronous execution: running, or with its result."""
    session = call.live_session()
    operation = call.services.operations.get(session, call.found["id"])
    if not operation.task.done():
        wire = FlatWire(call.version, call.services.strict)
        state = wire.execution_state(
            operation.operation_id, session.identifier, operation.request, "Running"
        )
        return json_response(state)
    outcome = operation.task.result()
    pieces = call.wire.execution(
        operation.operation_id, session.identifier, operation.request, outcome
    )
    return _result_response(outcome, pieces, 200, {})


def _started(
    call: Call, session: Session, request: ExecutionRequest, operation_id: str
) -> Response:
    if not call.version.is_flat:
        raise ValidationFailedError(
            "executionType Asynchronous needs API version 2024-10-02-preview or later.",
            "executionType",
        )
    call.services.operations.start(session, request, operation_id)
    wire = FlatWire(call.version, call.services.strict)
    state = wire.execution_state(operation_id, session.identifier, request, "Running")
    path = f"executions/{urllib.parse.quote(operation_id, safe='')}"
    headers = {
        "operation-id": operation_id,
        "x-ms-session-guid": session.guid,
        "Operation-Location": call.url(path, identifier=session.identifier),
    }
    return json_response(state, 202, headers)


def _result_response(
    outcome: Outcome, pieces: Iterator[bytes], status: int, headers: dict[str, str]
) -> Response:
    media_type = "application/json"
    headers |= _cut_headers(outcome)
    if outcome.reply is not None:
        images_bytes = sum(blob.size_bytes for blob in outcome.reply.blobs)
        if images_bytes > _WHOLE_BYTES:
            return StreamingResponse(pieces, status, headers, media_type)
    return Response(b"".join(pieces), status, headers, media_type)


def _cut_headers(outcome: Outcome) -> dict[str, str]:
    """The emulator's own: how long a stream was before it was cut. The service does not say."""
    return {
        f"x-local-{name}-characters": str(stream.total_chars)
        for name, stream in zip(("stdout", "stderr"), outcome.streams or (), strict=False)
        if stream.is_cut
    }


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.4f}"
