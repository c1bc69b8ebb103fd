"""What the REST specification says about bodies, as JSON schemas of our own.

https://github.com/Azure/azure-rest-api-specs: Microsoft.App.DynamicSessions, 2025-10-02-preview.
Objects are closed here though not there, so that a property nobody documented is noticed.
"""

from typing import Any

Schema = dict[str, Any]


def _object(required: Schema, optional: Schema | None = None) -> Schema:
    return {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
        "additionalProperties": False,
    }


_TEXT: Schema = {"type": "string"}
_WHOLE: Schema = {"type": "integer"}
_MOMENT: Schema = {
    "type": "string",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z$",
}
_NUMBERED: Schema = {"$id": _TEXT}  # the service's serializer, until 2025-10-02
_IMAGE: Schema = _object(
    {"type": {"const": "image"}, "format": {"enum": ["png", "jpeg"]}, "base64_data": _TEXT}
)

_RESULT = _object(
    {
        "stdout": _TEXT,
        "stderr": _TEXT,
        "executionResult": {},
        "executionTimeInMilliseconds": _WHOLE,
    },
    _NUMBERED,
)
EXECUTION = _object(
    {
        "id": _TEXT,
        "identifier": _TEXT,
        "executionType": {"enum": ["Synchronous", "Asynchronous", "synchronous", "asynchronous"]},
        "status": {"enum": ["NotStarted", "Running", "Succeeded", "Failed", "Canceled"]},
    },
    {"result": _RESULT, **_NUMBERED},
)
FILE = _object(
    {"name": _TEXT, "type": {"enum": ["file", "directory", ""]}, "lastModifiedAt": _MOMENT},
    {"contentType": _TEXT, "sizeInBytes": _WHOLE, "directory": _TEXT, **_NUMBERED},
)
FILE_LIST = _object({"value": {"type": "array", "items": FILE}}, {"nextLink": _TEXT, **_NUMBERED})
SESSION = _object(
    {
        "identifier": _TEXT,
        "createdAt": _MOMENT,
        "lastAccessedAt": _MOMENT,
        "expireAt": _MOMENT,
        "etag": {"type": "string", "pattern": '^".+"$'},
    }
)
SESSION_LIST = _object({"sessions": {"type": "array", "items": SESSION}}, {"nextLink": _TEXT})
_NAMED = _object({"name": _TEXT, "version": _TEXT})
METADATA = _object(
    {
        "runtimes": {"type": "array", "items": _NAMED},
        "preInstalledPackages": {"type": "array", "items": _NAMED},
        "createdAt": _MOMENT,
        "lastUpdatedAt": _MOMENT,
        "jupyterKernel": _object(
            {"name": _TEXT, "version": _TEXT, "projectUrl": _TEXT, "description": _TEXT}
        ),
    }
)
ERROR = _object(
    {"error": _object({"code": _TEXT, "message": _TEXT}, {"target": _TEXT, "traceId": _TEXT})}
)

# The old generation, from recordings and from what its clients read.
OLD_EXECUTION = _object(
    {
        "properties": _object(
            {
                "status": {"enum": ["Success", "Failure"]},
                "stdout": _TEXT,
                "stderr": _TEXT,
                "result": {"anyOf": [{"type": ["string", "number", "boolean", "null"]}, _IMAGE]},
                "executionTimeInMilliseconds": _WHOLE,
            },
            _NUMBERED,
        )
    },
    _NUMBERED,
)
OLD_FILE_LIST = _object(
    {
        "value": {
            "type": "array",
            "items": _object(
                {
                    "properties": _object(
                        {"filename": _TEXT, "size": _WHOLE, "lastModifiedTime": _MOMENT},
                        _NUMBERED,
                    )
                },
                _NUMBERED,
            ),
        }
    },
    _NUMBERED,
)
