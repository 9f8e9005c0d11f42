"""What `openapi.json` says of each operation. Request forms come from `wire.py` as they are.

Replies are described by hand: they are plain dictionaries on the way out, never validated there;
the tests compare real replies with these schemas instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.responses import PlainTextResponse

from app import __version__
from app.api.drift_query import DriftQuery
from app.api.nights_query import RetrainForm
from app.api.traces_query import FeedbackForm, TraceQuery
from app.api.wire import ChatForm, VerifyForm
from verifiers.base import known_verifiers

Schema = dict[str, Any]

REF = "#/components/schemas/{model}"


def _object(required: Mapping[str, Schema], **optional: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
    }


def _ref(name: str) -> Schema:
    return {"$ref": REF.format(model=name)}


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


STRING: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
INTEGER: Schema = {"type": "integer"}
BOOLEAN: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}
COUNTS: Schema = {"type": "object", "additionalProperties": INTEGER}
STATUS: Schema = {"enum": ["verified", "agreed", "unverified", "held", "failed"]}

VERIFICATION = _object(
    {
        "status": STATUS,
        "trace_id": STRING,
        "answer": _or_null(STRING),
        "confidence": _or_null(NUMBER),
        "abstained": BOOLEAN,
        "threshold": _or_null(NUMBER),
        "samples": INTEGER,
        "rounds": INTEGER,
        "votes": COUNTS,
        "verifiers": _array(_object({"name": STRING, "status": STRING, "score": _or_null(NUMBER)})),
        "stop_reason": STRING,
        "route": STRING,
        "route_name": STRING,
        "difficulty": NUMBER,
        "policy": STRING,
        "cache": _object({"hit": BOOLEAN}),
        "degraded": _array(STRING),
    },
    hidden_verifiers=INTEGER,
    trace=OBJECT,
)
ERROR = _object(
    {
        "error": _object(
            {
                "message": STRING,
                "type": STRING,
                "param": _or_null(STRING),
                "code": _or_null(STRING),
            },
            verification=_ref("Verification"),
        )
    }
)
COMPLETION = _object(
    {
        "id": STRING,
        "object": {"const": "chat.completion"},
        "created": INTEGER,
        "model": STRING,
        "choices": _array(
            _object(
                {
                    "index": INTEGER,
                    "message": _object(
                        {
                            "role": {"const": "assistant"},
                            "content": _or_null(STRING),
                            "refusal": _or_null(STRING),
                        },
                        tool_calls=_array(OBJECT),
                        function_call=OBJECT,
                        reasoning_content=STRING,
                    ),
                    "finish_reason": STRING,
                    "logprobs": _or_null(OBJECT),
                }
            )
        ),
        "usage": _object(
            {
                "prompt_tokens": INTEGER,
                "completion_tokens": INTEGER,
                "total_tokens": INTEGER,
                "verification": _object({"samples": INTEGER, "winner_tokens": INTEGER}),
            }
        ),
        "service_tier": STRING,
        "system_fingerprint": STRING,
        "verification": _ref("Verification"),
    }
)
MODEL = _object(
    {"id": STRING, "object": {"const": "model"}, "created": INTEGER, "owned_by": STRING}
)
TRACE_SUMMARY = _object(
    {
        "id": STRING,
        "object": {"const": "trace.summary"},
        "created": NUMBER,
        "tenant": STRING,
        "model": STRING,
        "route": STRING,
        "status": STATUS,
        "stop_reason": STRING,
        "prompt": STRING,
        "answer": _or_null(STRING),
        "samples": INTEGER,
        "rounds": INTEGER,
        "votes": COUNTS,
        "agreement": _or_null(NUMBER),
        "verdicts": COUNTS,
        "prompt_tokens": INTEGER,
        "completion_tokens": INTEGER,
        "duration_ms": NUMBER,
        "cache_hit": BOOLEAN,
        "degraded": _array(STRING),
        "labels": _array(STRING),
    }
)
LABEL = _object(
    {
        "id": STRING,
        "object": {"const": "trace.label"},
        "trace_id": STRING,
        "label": STRING,
        "created": NUMBER,
        "author": STRING,
        "sample": _or_null(INTEGER),
        "correction": _or_null(STRING),
        "note": _or_null(STRING),
    }
)
TRACE = _object(
    {
        "id": STRING,
        "object": {"const": "trace"},
        "created": NUMBER,
        "verification": _ref("Verification"),
        "group": OBJECT,
        "labels": _array(_ref("Label")),
    }
)
NIGHT = _object(
    {
        "id": STRING,
        "object": {"const": "night"},
        "engine": STRING,
        "day": STRING,
        "status": STRING,
        "phase": _or_null(STRING),
        "reason": STRING,
        "policy": STRING,
        "objective": STRING,
        "started_at": NUMBER,
        "finished_at": _or_null(NUMBER),
    },
    report=_or_null(OBJECT),
)
_WINDOW = _object({"since": NUMBER, "until": NUMBER, "groups": INTEGER, "read": INTEGER})
_MOVED = _object(
    {
        "name": STRING,
        "test": {"enum": ["ks", "chi2"]},
        "before": INTEGER,
        "after": INTEGER,
        "psi": NUMBER,
        "band": {"enum": ["stable", "moderate", "major"]},
        "statistic": NUMBER,
        "p": NUMBER,
        "q": NUMBER,
        "drifted": BOOLEAN,
        "shift": STRING,
    }
)
DRIFT = _object(
    {
        "object": {"const": "drift"},
        "engine": STRING,
        "before": _WINDOW,
        "after": _WINDOW,
        "moved": _array(_MOVED),
        "not_compared": _array(STRING),
        "drifted": _array(STRING),
    }
)
REPLIES: Mapping[str, Schema] = {
    "Completion": COMPLETION,
    "Drift": DRIFT,
    "Error": ERROR,
    "Label": LABEL,
    "Model": MODEL,
    "Night": NIGHT,
    "Trace": TRACE,
    "TraceSummary": TRACE_SUMMARY,
    "Verification": VERIFICATION,
}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


FAILURE: Schema = {"description": "An error in OpenAI's form.", "content": _json(_ref("Error"))}


def _operation(
    operation_id: str,
    content: Schema,
    *,
    body: str | None = None,
    needs_body: bool = True,
    parameters: list[Schema] | None = None,
    others: Mapping[str, Schema] | None = None,
) -> dict[str, Any]:
    """Arguments of a route decorator: what comes in, what goes out, what else may happen.

    `others` are further replies by status.
    """
    extra: Schema = {}
    if body is not None:
        extra["requestBody"] = {"required": needs_body, "content": _json(_ref(body))}
    if parameters is not None:
        extra["parameters"] = parameters
    responses: dict[str, Any] = {
        "200": {"description": "Success.", "content": content},
        **(others or {}),
        "default": FAILURE,
    }
    return {
        "operation_id": operation_id,
        "responses": responses,
        "openapi_extra": extra,
    }


def _in_path(name: str, description: str) -> Schema:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", "minLength": 1, "pattern": "^[^/?#]+$"},
    }


def _in_query(form: type[BaseModel]) -> list[Schema]:
    properties: dict[str, Schema] = form.model_json_schema()["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": _without_null(schema)}
        for name, schema in properties.items()
    ]


def _without_null(schema: Schema) -> Schema:
    """A query parameter is absent or has a value; there is no null in a query string."""
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    return options[0] if options else {k: v for k, v in schema.items() if k != "title"}


_VERIFY_HEADER: Schema = {
    "name": "X-Verivote-Verify",
    "in": "header",
    "required": False,
    "description": "Gateway options as JSON; the body's `verify` goes over them.",
    "content": _json(_ref("VerifyForm")),
}
_STREAM: Schema = {"text/event-stream": {"schema": _object({"data": STRING})}}
_STATUS: Schema = _json(_object({"status": STRING}))

CREATE_COMPLETION = _operation(
    "create_chat_completion",
    {**_json(_ref("Completion")), **_STREAM},
    body="ChatForm",
    parameters=[_VERIFY_HEADER],
)
LIST_MODELS = _operation(
    "list_models",
    _json(_object({"object": {"const": "list"}, "data": _array(_ref("Model"))})),
)
GET_MODEL = _operation(
    "get_model", _json(_ref("Model")), parameters=[_in_path("model", "Id of a model.")]
)
LIST_TRACES = _operation(
    "list_traces",
    _json(
        _object(
            {
                "object": {"const": "list"},
                "data": _array(_ref("TraceSummary")),
                "has_more": BOOLEAN,
                "next_before": _or_null(STRING),
            }
        )
    ),
    parameters=_in_query(TraceQuery),
)
GET_TRACE = _operation(
    "get_trace", _json(_ref("Trace")), parameters=[_in_path("trace_id", "Id of a completion.")]
)
POST_FEEDBACK = _operation(
    "post_feedback",
    _json(_ref("Label")),
    body="FeedbackForm",
    parameters=[_in_path("trace_id", "Id of a completion.")],
)
_BEGUN: Mapping[str, Schema] = {"202": {"description": "It runs.", "content": _json(_ref("Night"))}}
POST_RETRAIN = _operation(
    "begin_night", _json(_ref("Night")), body="RetrainForm", needs_body=False, others=_BEGUN
)
LIST_NIGHTS = _operation(
    "list_nights",
    _json(_object({"object": {"const": "list"}, "data": _array(_ref("Night"))})),
)
GET_NIGHT = _operation(
    "get_night", _json(_ref("Night")), parameters=[_in_path("night_id", "Id of a night.")]
)
GET_DRIFT = _operation("get_drift", _json(_ref("Drift")), parameters=_in_query(DriftQuery))
LIVEZ = _operation("livez", _STATUS)
READYZ = _operation("readyz", _json(_object({"status": STRING, "checks": OBJECT})))
VERSION = _operation(
    "version", _json(_object({"version": STRING, "extractor": STRING, "verifiers": OBJECT}))
)
METRICS = {
    **_operation("metrics", {"text/plain": {"schema": STRING}}),
    "response_class": PlainTextResponse,
}


def describe(app: FastAPI, *, keys_required: bool) -> dict[str, Any]:
    """The OpenAPI document of the mounted routes."""
    document = get_openapi(
        title="Verivote",
        version=__version__,
        summary="A verify-and-vote gateway with OpenAI's chat completion API.",
        routes=app.routes,
    )
    _, forms = models_json_schema(
        [(form, "validation") for form in (ChatForm, FeedbackForm, RetrainForm, VerifyForm)],
        ref_template=REF,
    )
    defined: dict[str, Schema] = {**forms["$defs"], **REPLIES}
    defined["VerifierForm"]["properties"]["use"]["enum"] = [v.name for v in known_verifiers()]
    components = document.setdefault("components", {})
    components["schemas"] = defined
    if keys_required:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    return document
