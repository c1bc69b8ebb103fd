"""The OpenAPI 3.1 document of all routes, made of the schemas that read and write them.

https://spec.openapis.org/oas/v3.1.1
"""

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response

from agent.errors import AgentError
from agent.http.dispatch import Route
from agent.http.operations import OPERATIONS, Body, Json, Operation
from agent.runtime import get_runtime

VERSION: Final = "1"

_FAILURES: Final = {401: "Unauthorized; where the function key is wrong, the host's, with no body"}

# What a model looks like when it is read (validation) and when it is written (serialization).
type _Schemas = Mapping[tuple[object, str], Json]


async def _get(_: Request) -> Response:
    tools: tuple[str, ...] = ()
    with suppress(AgentError):  # an app that is not configured has its routes all the same
        tools = (await get_runtime()).turns.tool_names
    return Response(await asyncio.to_thread(document, tools), media_type="application/json")


@lru_cache(maxsize=4)
def document(tools: tuple[str, ...]) -> bytes:
    """The document, as JSON; made once.

    Args:
        tools: what the model may call.
    """
    named = f" Its tools: {', '.join(tools)}." if tools else ""
    read, written = set[type[BaseModel]](), set[type[BaseModel]]()
    for operation in OPERATIONS:
        read |= _models(operation.request_body.values())
        written |= _models([operation.failure[1]])
        for bodies in operation.responses.values():
            written |= _models(bodies.values())
    references, definitions = models_json_schema(
        [
            *((m, "validation") for m in _by_name(read)),
            *((m, "serialization") for m in _by_name(written)),
        ],
        ref_template="#/components/schemas/{model}",
    )
    schemas: _Schemas = {(model, mode): schema for (model, mode), schema in references.items()}
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation, schemas)
    return json.dumps(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Functions code interpreter",
                "version": VERSION,
                "description": "An agent that answers questions by running Python in an isolated "
                f"session.{named}",
            },
            "servers": [{"url": "/api"}],
            "paths": paths,
            "components": {
                "schemas": {
                    name: {"title": name, **_untitled(schema)}
                    for name, schema in definitions["$defs"].items()
                },
                "securitySchemes": {
                    "function_key": {"type": "apiKey", "in": "header", "name": "x-functions-key"},
                    "code": {"type": "apiKey", "in": "query", "name": "code"},
                },
            },
            "security": [{"function_key": []}, {"code": []}],
        }
    ).encode()


def _untitled(schema: Json) -> Json:
    """The schema without titles: generators of clients name a class after each."""
    properties = schema.get("properties", {})
    bare = {key: _bare(value) for key, value in schema.items() if key != "title"}
    if properties:
        bare["properties"] = {name: _untitled(of_name) for name, of_name in properties.items()}
    return bare


def _bare(value: Any) -> Any:
    match value:
        case dict():
            return _untitled(value)
        case list():
            return [_bare(item) for item in value]
    return value


def _models(bodies: Iterable[Body]) -> set[type[BaseModel]]:
    return {body for body in bodies if isinstance(body, type)}


def _by_name(models: Iterable[type[BaseModel]]) -> list[type[BaseModel]]:
    return sorted(models, key=lambda model: model.__name__)


def _described(operation: Operation, schemas: _Schemas) -> Json:
    name = re.sub(r"\W+", "_", f"{operation.method}{operation.path}").strip("_")
    described: Json = {"operationId": name, "summary": operation.summary}
    if not operation.needs_key:
        described["security"] = []
    if operation.parameters:
        described["parameters"] = list(operation.parameters)
    if operation.request_body:
        content = _content(operation.request_body, schemas, "validation")
        described["requestBody"] = {"required": True, "content": content}
    responses: dict[str, Json] = {}
    for status, bodies in operation.responses.items():
        responses[str(status)] = {"description": HTTPStatus(status).phrase}
        if bodies:
            responses[str(status)]["content"] = _content(bodies, schemas, "serialization")
    media_type, model = operation.failure
    for status in sorted(operation.failures):
        response: Json = {
            "description": _FAILURES.get(status, HTTPStatus(status).phrase),
            "content": {media_type: {"schema": schemas[model, "serialization"]}},
            "headers": {
                "x-request-id": {
                    "description": "By which the operator finds it: a problem's operation_id.",
                    "schema": {"type": "string"},
                }
            },
        }
        if status in (409, 429, 503):
            response["headers"]["Retry-After"] = {
                "description": "In how many seconds to try again.",
                "schema": {"type": "integer"},
            }
        responses[str(status)] = response
    described["responses"] = responses
    return described


def _content(bodies: Mapping[str, Body], schemas: _Schemas, mode: str) -> Json:
    return {
        media_type: {"schema": schemas[body, mode] if isinstance(body, type) else body}
        for media_type, body in bodies.items()
    }


ROUTES: Final = {"openapi": Route({"GET": _get})}
