"""What all descriptions have in common: the components of the OpenAPI description."""

from typing import Any

from gateway.problems import DOCUMENTED, TEMPORARY_STATUSES, Problem, ReplyTimeout, Sent

DESCRIPTION = (
    "Errors are problem details (RFC 9457); who prefers `text/html` gets a page. `type` is a page "
    "that explains them, and `retryable` says whether it is safe to send the same request again as "
    "it is. A responder may answer with any status of its own. `X-Request-ID` comes back on every "
    "response."
)
_STRING: dict[str, Any] = {"type": "string"}


def problem_schema(kind: type[Problem], status: int) -> dict[str, Any]:
    """Return the JSON Schema of the problem details of one *kind*, answered with *status*."""
    return {
        "title": kind.title,
        "description": f"{kind.meaning}\n\nSending the request again: {kind.retry}",
        "allOf": [{"$ref": "#/components/schemas/problem"}],
        "properties": {"type": {"const": kind.type_path()}, "status": {"const": status}},
    }


def problem_example(kind: type[Problem], status: int) -> dict[str, Any]:
    """Return an example of the problem details of one *kind*, answered with *status*."""
    value = {
        "type": kind.type_path(),
        "title": kind.title,
        "status": status,
        "detail": "what happened, and what to do next",
        "retryable": status in TEMPORARY_STATUSES and kind is not ReplyTimeout,
    }
    return {"summary": kind.title, "value": value}


def _header(description: str, **schema: Any) -> dict[str, Any]:
    return {"description": description, "schema": _STRING | schema}


def _parameter(name: str, description: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": _STRING} | more


_HEADERS = {
    "X-Correlation-ID": _header("The id of the exchange, made by the gateway."),
    "Location": _header(
        "Where to ask for the reply; or what the responder says.", format="uri-reference"
    ),
    "Retry-After": _header("Seconds until it makes sense to ask again."),
    "Preference-Applied": _header("Which preferences were followed (RFC 7240)."),
    "WWW-Authenticate": _header("How to say who calls (RFC 6750)."),
    "RateLimit": _header("What is left (r) for how many seconds (t)."),
    "RateLimit-Policy": _header("How many requests (q) in how many seconds (w)."),
    "Idempotent-Replayed": _header("The reply is that to an earlier try.", enum=["true"]),
}

_IDEMPOTENCY_KEY = _parameter(
    "Idempotency-Key",
    "The client's own name for what is to happen once: each try that has it gets the reply to the "
    "first. Visible ASCII characters, in double quotes or bare.",
    schema=_STRING | {"pattern": '^(?:"[!#-\\[\\]-~]{1,255}"|[!#-+\\--~]{1,255})$'},
)
_PARAMETERS = {
    "prefer": _parameter(
        "Prefer",
        "`wait=<seconds>`: how long to wait for the reply. `respond-async`: answer 202 when there "
        "is none by then. What cannot be understood is ignored (RFC 7240).",
    ),
    "idempotency-key-optional": _IDEMPOTENCY_KEY,
    "idempotency-key-required": _IDEMPOTENCY_KEY | {"required": True},
    "request-id": _parameter(
        "X-Request-ID",
        "The client's own name for the request. It travels to the responder and comes back, unless "
        "it is no token of at most 200 letters.",
    ),
    "correlation-id": {
        "name": "correlation_id",
        "in": "path",
        "required": True,
        "description": "As in X-Correlation-ID.",
        "schema": {"type": "string", "minLength": 1},
    },
    "kind": {
        "name": "kind",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "enum": list(DOCUMENTED)},
    },
}

_STATUS_URL = {"type": "string", "format": "uri-reference"}
_SCHEMAS = {
    "problem": {
        "title": "Problem details (RFC 9457)",
        "type": "object",
        "required": ["type", "title", "status", "detail", "retryable"],
        "properties": {
            "type": {
                "type": "string",
                "format": "uri-reference",
                "description": "A page of the gateway that explains it, or about:blank.",
            },
            "title": _STRING,
            "status": {"type": "integer", "minimum": 300, "maximum": 599},
            "detail": _STRING,
            "retryable": {
                "type": "boolean",
                "description": "Whether it is safe, and makes sense, to send the same request "
                "again as it is.",
            },
            "sent": {
                "enum": [str(sent) for sent in Sent],
                "description": "Whether the request is in Kafka, as far as anybody can know.",
            },
            "correlation_id": _STRING,
            "status_url": _STATUS_URL | {"description": "Where to ask for the reply."},
            "faults": {
                "type": "array",
                "description": "What is wrong with the body, and where (JSON pointers).",
                "items": {
                    "type": "object",
                    "required": ["path", "fault"],
                    "properties": {"path": _STRING, "fault": _STRING},
                },
            },
        },
    },
    "about-blank": {
        "title": "What HTTP itself forbids",
        "allOf": [{"$ref": "#/components/schemas/problem"}],
        "properties": {"type": {"const": "about:blank"}},
    },
    "pending": {
        "type": "object",
        "required": ["correlation_id", "status", "status_url"],
        "properties": {
            "correlation_id": _STRING,
            "status": {"const": "pending"},
            "status_url": _STATUS_URL,
        },
    },
    "alive": {
        "type": "object",
        "required": ["status"],
        "properties": {"status": {"const": "alive"}},
    },
    "readiness": {
        "type": "object",
        "required": ["status", "node", "problems", "warnings"],
        "properties": {
            "status": {"enum": ["ready", "not ready"]},
            "node": {"type": "string", "description": "Which of the workers it is."},
            "problems": {"type": "array", "items": _STRING},
            "warnings": {"type": "array", "items": _STRING},
        },
    },
    "openapi": {"type": "object", "required": ["openapi", "info", "paths"]},
}

_GET_REPLY = {
    "operationId": "getReply",
    "parameters": {"correlation_id": "$response.body#/correlation_id"},
}
_RESPONSES = {
    "reply": {
        "description": "The responder's reply: its own status, headers and body.",
        "headers": {
            "X-Correlation-ID": _HEADERS["X-Correlation-ID"] | {"required": True},
            "Preference-Applied": {"$ref": "#/components/headers/Preference-Applied"},
            "Idempotent-Replayed": {"$ref": "#/components/headers/Idempotent-Replayed"},
        },
        "content": {"*/*": {"schema": {}}},
    },
    "pending": {
        "description": "The request is sent, and there is no reply yet; or the responder's reply.",
        "headers": {
            "X-Correlation-ID": _HEADERS["X-Correlation-ID"] | {"required": True},
            "Location": {"$ref": "#/components/headers/Location"},
            "Retry-After": {"$ref": "#/components/headers/Retry-After"},
            "Preference-Applied": {"$ref": "#/components/headers/Preference-Applied"},
        },
        "content": {
            "application/json": {
                "schema": {
                    "anyOf": [
                        {"$ref": "#/components/schemas/pending"},
                        {"description": "The responder's own reply."},
                    ]
                }
            },
            "*/*": {"schema": {}},
        },
        "links": {"reply": _GET_REPLY},
    },
    "not-ready": {
        "description": "Something is missing.",
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/readiness"}},
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/problem"}},
        },
    },
}

#: The components that every description has.
COMPONENTS: dict[str, Any] = {
    "headers": _HEADERS,
    "parameters": _PARAMETERS,
    "responses": _RESPONSES,
    "schemas": _SCHEMAS,
}
