"""The built-in verifiers, one file each. A new one is a file here and a name below."""

from verifiers.kinds import (
    calculator,
    choice,
    json_equal,
    json_schema,
    ledger,
    number,
    text,
    tool_calls,
)

__all__ = [
    "calculator",
    "choice",
    "json_equal",
    "json_schema",
    "ledger",
    "number",
    "text",
    "tool_calls",
]
