"""Sessions themselves, and the pool's metadata."""

import re
from typing import Any

from starlette.responses import Response

from local.session_pool.errors import ValidationFailedError
from local.session_pool.http.api_versions import ApiVersion
from local.session_pool.http.service_call import Call, json_response
from local.session_pool.http.wire.values import timestamp
from local.session_pool.pool.session import Session

_PAGE = 300


async def get_session(call: Call) -> Response:
    """Answer with a live session."""
    return json_response(_described(call.live_session(), call.version))


async def delete_session(call: Call) -> Response:
    """End a session now."""
    await call.services.pool.delete(call.identifier())
    return Response(status_code=204)


async def list_sessions(call: Call) -> Response:
    """Answer with a page of the live sessions."""
    skip = call.request.query_params.get("skip") or "0"
    if not re.fullmatch("[0-9]{1,9}", skip):
        raise ValidationFailedError("skip is not a number of up to nine digits.", "skip")
    sessions = call.services.pool.sessions()
    end = int(skip) + _PAGE
    page = [_described(session, call.version) for session in sessions[int(skip) : end]]
    answer: dict[str, Any] = {"sessions": page}
    if not call.version.is_flat:
        answer = {"value": page, "count": len(page)}
    if len(sessions) > end:
        answer["nextLink"] = call.url(call.path, skip=end)
    return json_response(answer)


async def get_metadata(call: Call) -> Response:
    """Answer with the pool's metadata."""
    return json_response(call.services.metadata.describe())


def _described(session: Session, version: ApiVersion) -> dict[str, str]:
    # The two generations differ in one letter.
    expiry = "expireAt" if version.is_flat else "expiresAt"
    return {
        "identifier": session.identifier,
        "etag": f'"{session.guid}"',
        "createdAt": timestamp(session.created_at),
        "lastAccessedAt": timestamp(session.last_accessed_at),
        expiry: timestamp(session.expire_at),
    }
