"""The built-in verifiers, one file each. A new one is a file here and a name below."""

from verifiers.kinds import (
    calculator,
    choice,
    constraints,
    date,
    json_equal,
    json_schema,
    ledger,
    list,
    math,
    number,
    program,
    set,
    steps,
    text,
    tool_calls,
    unit_tests,
)

__all__ = [
    "calculator",
    "choice",
    "constraints",
    "date",
    "json_equal",
    "json_schema",
    "ledger",
    "list",
    "math",
    "number",
    "program",
    "set",
    "steps",
    "text",
    "tool_calls",
    "unit_tests",
]
