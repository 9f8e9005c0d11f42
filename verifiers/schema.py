"""JSON Schema for texts and schemas that nobody vouches for.

Runs in a worker only: a schema can be made to burn time or memory, and then the process is killed.
It reaches no network and no file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from verifiers.base import BadCheck
from verifiers.strict_json import NotStrictJson, parse_json

if TYPE_CHECKING:
    from jsonschema_rs import Validator

MAX_SCHEMA_CHARS = 262_144
MAX_MESSAGE_CHARS = 300


def compile_schema(
    schema: object,
    *,
    param: str,
    request: bool = False,
    resources: Mapping[str, object] | None = None,
) -> Validator:
    """A validator for the schema. Raises `BadCheck` at `param`.

    `resources` are schemas by their URI: all that a `$ref` may name outside the schema.
    """
    import jsonschema_rs  # here, so that the gateway itself never loads it

    if not isinstance(schema, Mapping | bool):
        raise BadCheck("a schema is an object or a boolean", param=param, request=request)
    try:
        exact = parse_json(json.dumps(schema), max_chars=MAX_SCHEMA_CHARS)
        known = parse_json(json.dumps(resources or {}), max_chars=MAX_SCHEMA_CHARS)
    except (NotStrictJson, ValueError, TypeError, RecursionError) as unfit:
        raise BadCheck(
            f"not a usable schema: {str(unfit)[:MAX_MESSAGE_CHARS]}", param=param, request=request
        ) from None
    try:
        registry = None
        if known:
            registry = jsonschema_rs.Registry(list(known.items()), draft=jsonschema_rs.Draft202012)
        return jsonschema_rs.validator_for(
            exact, offline=True, registry=registry, pattern_options=jsonschema_rs.RegexOptions()
        )
    except (ValueError, jsonschema_rs.ReferencingError) as refused:
        raise BadCheck(_explain(refused), param=param, request=request) from None


def first_fault(validator: Validator, value: Any) -> Mapping[str, Any] | None:
    """Where and why a value does not match, or None when it does."""
    if validator.is_valid(value):
        return None
    fault = next(iter(validator.iter_errors(value)))
    return {
        "path": "".join(f"/{part}" for part in fault.instance_path)[:MAX_MESSAGE_CHARS],
        "keyword": str(fault.kind.name),
        "message": fault.message[:MAX_MESSAGE_CHARS],
    }


def _explain(refused: Exception) -> str:
    message = str(getattr(refused, "message", refused)).splitlines()[0][:MAX_MESSAGE_CHARS]
    if message.endswith('is not a "regex"'):
        message += "; patterns must be linear-time: no lookaround, no backreference, no huge repeat"
    return f"not a usable schema: {message}"
