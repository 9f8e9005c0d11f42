"""What did not fit a form, in OpenAI's terms: a message, the exact `param` and a code.

Only the first fault is told: it is the one a caller can act on.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from app.errors import RequestError

FaultCode = Literal[
    "array_above_max_length",
    "decimal_above_max_value",
    "decimal_below_min_value",
    "duplicate_key",
    "empty_array",
    "empty_string",
    "integer_above_max_value",
    "integer_below_min_value",
    "invalid_json",
    "invalid_type",
    "invalid_value",
    "json_too_deep",
    "missing_required_parameter",
    "object_above_max_properties",
    "string_above_max_length",
    "unknown_parameter",
    "unsupported_value",
]
"""Every code of a request that does not fit."""

_TYPES = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "a boolean",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
_FOUND = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    list: "an array",
    dict: "an object",
    type(None): "null",
}
_UNSUPPORTED = ("modalities",)
"""Fields whose other values exist at OpenAI and are not offered here."""


def fault(code: FaultCode, message: str, param: str | None = None) -> RequestError:
    return RequestError(message, param=param, code=code)


def explain(invalid: ValidationError, form: type[BaseModel], prefix: str = "") -> RequestError:
    """The first fault as the error that the client gets. `prefix` stands before every path."""
    details = invalid.errors(include_url=False)[0]
    path = param_of(details["loc"])
    param = f"{prefix}.{path}" if prefix and path else prefix or path
    return _explain(details, param, form)


def param_of(loc: Sequence[int | str]) -> str:
    """`("messages", 0, "<user>", "content")` → `messages[0].content`."""
    path = ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not (part.startswith("<") or part == "[key]"):
            path += f".{part}" if path else part
    return path


def _explain(details: ErrorDetails, param: str, form: type[BaseModel]) -> RequestError:
    kind, got, context = details["type"], details["input"], details.get("ctx", {})
    if kind in _TYPES:
        return _wrong_type(param, _TYPES[kind], got)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _wrong_variant(param, got, context)
    if kind == "missing":
        return fault("missing_required_parameter", f"'{param}' is required.", param)
    if kind == "extra_forbidden":
        return _unknown(param, details["loc"], form)
    if kind == "literal_error":
        return _wrong_literal(param, got, str(context["expected"]))
    if kind in ("too_short", "too_long", "string_too_short", "string_too_long"):
        return _wrong_length(kind, param, got, context)
    return _out_of_range(kind, param, got, context, details["msg"])


def _wrong_type(param: str, wanted: str, got: Any) -> RequestError:
    found = _FOUND.get(type(got), "something else")
    return fault("invalid_type", f"'{param}' must be {wanted}, but is {found}.", param)


def _wrong_variant(param: str, got: Any, context: dict[str, Any]) -> RequestError:
    """No form fits: by its JSON type, or by the string under its key."""
    key = str(context["discriminator"]).removesuffix("()")
    if not isinstance(got, dict) or not key.isalpha():
        wanted = "an object" if key.isalpha() else _SHAPES.get(param.rsplit(".")[-1], _EITHER)
        return _wrong_type(param, wanted, got)
    inner = f"{param}.{key}"
    if key not in got:
        return fault("missing_required_parameter", f"'{inner}' is required.", inner)
    if not isinstance(got[key], str):
        return _wrong_type(inner, "a string", got[key])
    tags = re.findall(r"<(\w+)>", str(context.get("expected_tags", "")))
    known = ", ".join(f"'{tag}'" for tag in tags if tag != "other")
    return fault("invalid_value", f"'{inner}' is {_shown(got[key])}; supported: {known}.", inner)


_EITHER = "a string or an object"
_SHAPES = {
    "content": "a string or an array of parts",
    "stop": "a string or an array of strings",
}


def _wrong_literal(param: str, got: Any, expected: str) -> RequestError:
    if not isinstance(got, str):
        return _wrong_type(param, "a string", got)
    unsupported = param.split("[")[0] in _UNSUPPORTED
    code: FaultCode = "unsupported_value" if unsupported else "invalid_value"
    return fault(code, f"'{param}' is {_shown(got)}; supported: {expected}.", param)


def _wrong_length(kind: str, param: str, got: Any, context: dict[str, Any]) -> RequestError:
    if kind == "too_short":
        return fault("empty_array", f"'{param}' must not be empty.", param)
    if kind == "string_too_short":
        return fault("empty_string", f"'{param}' must not be empty.", param)
    most = context["max_length"]
    if kind == "string_too_long":
        message = f"'{param}' is longer than {most} characters."
        return fault("string_above_max_length", message, param)
    if isinstance(got, dict):
        message = f"'{param}' has {len(got)} entries, at most {most} are allowed."
        return fault("object_above_max_properties", message, param)
    message = f"'{param}' has {len(got)} elements, at most {most} are allowed."
    return fault("array_above_max_length", message, param)


def _out_of_range(
    kind: str, param: str, got: Any, context: dict[str, Any], why: str
) -> RequestError:
    whole = isinstance(got, int) or (isinstance(got, str) and got.lstrip("-").isdecimal())
    for name, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<")):
        if name in context:
            message = f"'{param}' is {_shown(got)}, it must be {sign} {context[name]}."
            low = name in ("ge", "gt")
            if whole:
                code: FaultCode = "integer_below_min_value" if low else "integer_above_max_value"
            else:
                code = "decimal_below_min_value" if low else "decimal_above_max_value"
            return fault(code, message, param)
    return fault("invalid_value", f"'{param}': {why}.", param)


def _unknown(param: str, loc: Sequence[int | str], form: type[BaseModel]) -> RequestError:
    near = difflib.get_close_matches(str(loc[-1]), _keys_at(form, loc[:-1]), n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return fault("unknown_parameter", f"'{param}' is not known.{hint}", param)


def _keys_at(form: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """Field names of the form that the path leads to."""
    for part in path:
        field = form.model_fields.get(str(part))
        options = getattr(field.annotation, "__args__", ()) if field else ()
        for option in options:
            if isinstance(option, type) and issubclass(option, BaseModel):
                form = option
    return list(form.model_fields)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
