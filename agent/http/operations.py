"""All operations of the HTTP API: the request and the responses of each, errors included."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final, Literal

from ag_ui.core import RunAgentInput
from pydantic import BaseModel

from agent.frozen import frozen
from agent.http.bodies import PAGE_ENTRIES, PAGE_MAX_ENTRIES
from agent.http.openai.schemas import Completion, CompletionRequest, ErrorEnvelope, Model, ModelList
from agent.http.schemas import (
    CapabilitiesSchema,
    ChatAnswer,
    ChatRequest,
    ConversationListSchema,
    ConversationSchema,
    FileListSchema,
    HealthSchema,
    NewConversationSchema,
    Problem,
)

type Json = dict[str, Any]
type Parameter = Json
# A schema of ours, or what OpenAPI says instead.
type Body = type[BaseModel] | Json
# By status, the bodies by media type; none where there is no body.
type Responses = Mapping[int, Mapping[str, Body]]

# Without a type: some read a stream as a text, others as its events one by one.
_AGUI_EVENTS: Final[Json] = {
    "description": "Server-sent events, each an event of AG-UI 1.0: RUN_STARTED first, "
    "RUN_FINISHED or RUN_ERROR last. Lines that begin with a colon only keep the connection alive.",
}
_CHUNKS: Final[Json] = {
    "description": "Server-sent events, each a chat.completion.chunk; `[DONE]` last, or an object "
    "with `error`. Lines that begin with a colon only keep the connection alive.",
}
_BYTES: Final[Json] = {"type": "string", "format": "binary"}
# The media type is the file's, by its name. Those that read a description take the first they know.
_FILE_KINDS: Final = ("application", "audio", "font", "image", "text", "video", "*")
_FILE: Final = dict.fromkeys(
    ("application/octet-stream", *(f"{kind}/*" for kind in _FILE_KINDS)), _BYTES
)
_FORM: Final[Json] = {
    "type": "object",
    "properties": {
        "file": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
    },
    "required": ["file"],
    "additionalProperties": False,
}
_CONVERSATION_ID: Final[Parameter] = {
    "name": "conversation_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
}
_NAME: Final[Parameter] = {
    "name": "name",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1},
}
_CONVERSATION_HEADER: Final[Parameter] = {
    "name": "x-conversation-id",
    "in": "header",
    "description": "`new`, or the id of a conversation that the app stores; the answer's header of "
    "this name has the id. Without it, or with an empty one, the caller keeps the conversation.",
    "schema": {"type": "string", "pattern": "^(new|[0-9a-f]{32})?$"},
}
_INPUT: Final[Parameter] = {
    "name": "input",
    "in": "query",
    "required": True,
    "description": "The question, in plain words.",
    "schema": {"type": "string", "minLength": 1},
}

_LIMIT: Final[Parameter] = {
    "name": "limit",
    "in": "query",
    "schema": {
        "type": "integer",
        "minimum": 1,
        "maximum": PAGE_MAX_ENTRIES,
        "default": PAGE_ENTRIES,
    },
}
_CURSOR: Final[Parameter] = {
    "name": "cursor",
    "in": "query",
    "description": "The next_cursor of the page before.",
    "schema": {"type": "string"},
}

# What can go wrong, by what an operation does.
_ANY: Final = frozenset({401, 403, 500})
_BODY: Final = frozenset({400, 413, 415})
_STORE: Final = frozenset({404, 502, 503})
_TURN: Final = frozenset({400, 429, 502, 503, 504})


@frozen
class Operation:
    """One method of one route.

    Attributes:
        method: in lower case, as OpenAPI spells it.
        path: below /api.
        summary: what it does.
        responses: where nothing went wrong.
        failures: the statuses of errors.
        parameters: of path and query.
        request_body: by media type.
        failure: how errors look, by media type.
        needs_key: whether the host asks for a function key.
    """

    method: Literal["get", "post", "delete"]
    path: str
    summary: str
    responses: Responses
    failures: frozenset[int]
    parameters: tuple[Parameter, ...] = ()
    request_body: Mapping[str, Body] = field(default_factory=dict)
    failure: tuple[str, type[BaseModel]] = ("application/problem+json", Problem)
    needs_key: bool = True


_CHAT_ANSWER: Final[Responses] = {
    200: {"application/json": ChatAnswer, "text/event-stream": _AGUI_EVENTS}
}
_OPENAI_FAILURE: Final = ("application/json", ErrorEnvelope)

OPERATIONS: Final = (
    Operation(
        "get",
        "/chat",
        "Answer one question in a stateless turn.",
        _CHAT_ANSWER,
        _ANY | _TURN | {413},
        parameters=(_INPUT,),
    ),
    Operation(
        "post",
        "/chat",
        "Answer one question, alone or in a conversation; as AG-UI events on request.",
        _CHAT_ANSWER,
        _ANY | _TURN | _BODY | _STORE | {409},
        request_body={"application/json": ChatRequest},
    ),
    Operation(
        "post",
        "/agui",
        "Run the agent for an AG-UI 1.0 front end.",
        {200: {"text/event-stream": _AGUI_EVENTS}},
        _ANY | _TURN | _BODY | _STORE | {409},
        request_body={"application/json": RunAgentInput},
    ),
    Operation(
        "post",
        "/v1/chat/completions",
        "Answer a conversation that the caller keeps or names, as OpenAI's chat completions.",
        {200: {"application/json": Completion, "text/event-stream": _CHUNKS}},
        _ANY | _TURN | _BODY | _STORE | {409},
        parameters=(_CONVERSATION_HEADER,),
        request_body={"application/json": CompletionRequest},
        failure=_OPENAI_FAILURE,
    ),
    Operation(
        "get",
        "/v1/models",
        "Tell which model answers chat completions.",
        {200: {"application/json": ModelList}},
        _ANY,
        failure=_OPENAI_FAILURE,
    ),
    Operation(
        "get",
        "/v1/models/{name}",
        "Tell about the model that answers chat completions.",
        {200: {"application/json": Model}},
        _ANY | {404},
        parameters=(_NAME,),
        failure=_OPENAI_FAILURE,
    ),
    Operation(
        "get",
        "/conversations",
        "List the conversations of a caller who has signed in, newest first.",
        {200: {"application/json": ConversationListSchema}},
        _ANY | {400, 403, 502, 503},
        parameters=(_LIMIT, _CURSOR),
    ),
    Operation(
        "post",
        "/conversations",
        "Start a conversation without a question, to upload files to it.",
        {201: {"application/json": NewConversationSchema}},
        _ANY | {502, 503},
    ),
    Operation(
        "get",
        "/conversations/{conversation_id}",
        "Show a conversation.",
        {200: {"application/json": ConversationSchema}},
        _ANY | _STORE,
        parameters=(_CONVERSATION_ID,),
    ),
    Operation(
        "delete",
        "/conversations/{conversation_id}",
        "Delete a conversation, its files and its session.",
        {204: {}},
        _ANY | _STORE | {409},
        parameters=(_CONVERSATION_ID,),
    ),
    Operation(
        "get",
        "/conversations/{conversation_id}/files",
        "List the files of a conversation.",
        {200: {"application/json": FileListSchema}},
        _ANY | _STORE | {504},
        parameters=(_CONVERSATION_ID,),
    ),
    Operation(
        "post",
        "/conversations/{conversation_id}/files",
        "Upload files to a conversation; its code finds them in /mnt/data.",
        {201: {"application/json": FileListSchema}},
        _ANY | _STORE | _BODY | {504},
        parameters=(_CONVERSATION_ID,),
        request_body={"multipart/form-data": _FORM},
    ),
    Operation(
        "get",
        "/conversations/{conversation_id}/files/{name}",
        "Download a file of a conversation.",
        {200: _FILE},
        _ANY | _STORE | {400, 504},
        parameters=(_CONVERSATION_ID, _NAME),
    ),
    Operation(
        "delete",
        "/conversations/{conversation_id}/files/{name}",
        "Delete a file of a conversation.",
        {204: {}},
        _ANY | _STORE | {400, 504},
        parameters=(_CONVERSATION_ID, _NAME),
    ),
    Operation(
        "get",
        "/capabilities",
        "Tell a front end what the app can do.",
        {200: {"application/json": CapabilitiesSchema}},
        _ANY,
    ),
    Operation(
        "get",
        "/health/live",
        "Tell whether the worker answers; needs no key.",
        {200: {"application/json": HealthSchema}},
        _ANY,
        needs_key=False,
    ),
    Operation(
        "get",
        "/health/ready",
        "Report whether model, session pool and store are reachable, and which role is missing.",
        {200: {"application/json": HealthSchema}, 503: {"application/json": HealthSchema}},
        _ANY,
    ),
    Operation(
        "get",
        "/openapi.json",
        "Describe all routes.",
        {200: {"application/json": {"type": "object"}}},
        _ANY,
    ),
)
