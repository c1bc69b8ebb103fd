"""`/api/capabilities`: the app's features, for a front end to read before it shows anything."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from agent.http.bodies import json_response
from agent.http.dispatch import Route
from agent.http.schemas import CapabilitiesSchema
from agent.runtime import get_runtime


async def _get(request: Request) -> Response:
    runtime = await get_runtime()
    return json_response(
        CapabilitiesSchema(
            model=runtime.turns.model.ai_model_id,
            code_interpreter=runtime.turns.sessions is not None,
            conversations=runtime.keeps_conversations,
            vision=runtime.turns.options.sees,
            sign_in=runtime.sign_in,
            signed_in_as=_name_of(request) if runtime.sign_in else None,
        )
    )


def _name_of(request: Request) -> str | None:
    """The caller's name from the platform's header; /.auth/me would need the token store."""
    return request.headers.get("x-ms-client-principal-name") or None


ROUTES: Final = {"capabilities": Route({"GET": _get})}
