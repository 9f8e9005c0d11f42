"""`json_schema`: the whole text, as it stands, is strict JSON that matches the schema.

Attached by itself from `response_format`. A pass is proof of the form that was asked for, not of
the facts inside (docs/decisions/0003). Draft 2020-12 unless `$schema` names another; `format` is an
annotation there. Remote and file `$ref` are refused; patterns must be linear-time, so lookarounds
and backreferences are refused. JSON inside a code fence is a fail.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from verifiers.base import (
    Answer,
    AnswerContract,
    BadCheck,
    Candidate,
    Check,
    Finding,
    Isolation,
    Prepared,
    Role,
    Status,
    register,
)
from verifiers.schema import compile_schema, first_fault
from verifiers.strict_json import NotStrictJson, parse_json

if TYPE_CHECKING:
    from jsonschema_rs import Validator

MAX_CHARS = 1_000_000
MAX_RESOURCES = 100
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}:\S")
REQUEST_PARAM = "response_format.json_schema.schema"


@register
class JsonSchema:
    name: ClassVar[str] = "json_schema"
    version: ClassVar[str] = "1"
    role: ClassVar[Role] = "outcome"
    isolation: ClassVar[Isolation] = "worker"
    options: ClassVar[Mapping[str, str]] = {
        "schema": "A JSON Schema, object or boolean. Default: the one of `response_format`.",
        "resources": "Schemas by their URI, which a `$ref` may name. Nothing is ever fetched.",
    }

    def detect(self, check: Check) -> Mapping[str, Any] | None:
        schema = _requested_schema(check)
        return None if schema is None else {"schema": schema}

    def prepare(self, options: Mapping[str, Any], check: Check) -> Prepared:
        requested = _requested_schema(check)
        schema = options.get("schema", requested)
        if schema is None:
            raise BadCheck("a schema is needed, here or in `response_format`", param="schema")
        of_request = schema == requested
        param = REQUEST_PARAM if of_request else "schema"
        validator = compile_schema(
            schema, param=param, request=of_request, resources=_read_resources(options)
        )
        contract = AnswerContract(kind="json", rule="whole")
        return Prepared(payload=validator, contract=contract, decisive=True)

    def verify(self, prepared: Prepared, candidate: Candidate, answer: Answer) -> Finding:
        validator: Validator = prepared.payload
        if candidate.finish_reason in ("length", "content_filter"):
            return Finding(status=Status.FAIL, reason=answer.reason)
        try:
            value = parse_json(candidate.text, max_chars=MAX_CHARS)
        except NotStrictJson as refused:
            return Finding(
                status=Status.FAIL, reason=refused.reason, evidence={"message": str(refused)}
            )
        fault = first_fault(validator, value)
        if fault is not None:
            return Finding(status=Status.FAIL, reason="schema_mismatch", evidence=fault)
        return Finding(status=Status.PASS, reason="matches_schema")

    def canaries(self, prepared: Prepared) -> Sequence[Candidate]:
        """Texts that are no JSON, whatever the schema."""
        return (Candidate(text="{"), Candidate(text='{"a": 1, "a": 2}'))


def _read_resources(options: Mapping[str, Any]) -> Mapping[str, Any]:
    resources = options.get("resources", {})
    if not isinstance(resources, Mapping) or len(resources) > MAX_RESOURCES:
        raise BadCheck(
            f"resources are at most {MAX_RESOURCES} schemas by their URI", param="resources"
        )
    for uri, schema in resources.items():
        if not _ABSOLUTE.match(uri) or not isinstance(schema, Mapping | bool):
            raise BadCheck(f"'{uri[:80]}' is no URI with a schema", param="resources")
    return resources


def _requested_schema(check: Check) -> Any:
    """The schema that the request asks for, as sent; None when it asks for none."""
    asked = check.response_format
    if not isinstance(asked, Mapping):
        return None
    if asked.get("type") == "json_object":
        return {"type": "object"}
    if asked.get("type") != "json_schema":
        return None
    wrapper = asked.get("json_schema")
    return wrapper.get("schema", True) if isinstance(wrapper, Mapping) else None
