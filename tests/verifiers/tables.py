"""Tables of cases, and a candidate from a row of one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.parts import ROOT
from verifiers.base import Candidate, ToolCall


def rows(kind: str) -> list[Any]:
    """The cases of one table as parameters with readable ids."""
    lines = (ROOT / f"tests/cases/{kind}.jsonl").read_text(encoding="utf-8").splitlines()
    return [pytest.param(row, id=_name(row)) for row in map(json.loads, lines)]


def candidate_of(row: dict[str, Any]) -> Candidate:
    calls = tuple(
        ToolCall(id=f"call_{index}", name=name, arguments=arguments)
        for index, (name, arguments) in enumerate(row.get("calls", ()))
    )
    return Candidate(
        text=row.get("completion", ""),
        tool_calls=calls,
        finish_reason=row.get("finish_reason", "stop"),
    )


def _name(row: dict[str, Any]) -> str:
    said = str(row.get("completion", row.get("prompt", row.get("calls"))))
    return ascii(f"{row.get('use', row.get('kind', ''))} {said[:50]}")[1:-1].strip()
