"""`tool_calls`: the calls are ones that the request allows, with arguments that fit.

Attached by itself when the request brings tools. A gate: a call can be well-formed and still wrong,
so a pass proves nothing and earns nothing. A text answer where a call was optional, and calls of
custom tools with free input, are not its business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    ToolCall,
    register,
)
from verifiers.schema import compile_schema, first_fault
from verifiers.strict_json import NotStrictJson, parse_json

if TYPE_CHECKING:
    from jsonschema_rs import Validator

MAX_TOOLS = 256


@dataclass(frozen=True, slots=True)
class Allowed:
    functions: Mapping[str, Validator]
    customs: frozenset[str]
    names: frozenset[str]
    """Names that `tool_choice` leaves open."""
    required: bool
    parallel: bool


@register
class ToolCalls:
    name: ClassVar[str] = "tool_calls"
    version: ClassVar[str] = "1"
    role: ClassVar[Role] = "gate"
    isolation: ClassVar[Isolation] = "worker"
    options: ClassVar[Mapping[str, str]] = {}

    def detect(self, check: Check) -> Mapping[str, Any] | None:
        return {} if check.tools else None

    def prepare(self, options: Mapping[str, Any], check: Check) -> Prepared:
        if not check.tools:
            raise BadCheck("the request brings no tools", param="tools", request=True)
        if len(check.tools) > MAX_TOOLS:
            raise BadCheck(f"more than {MAX_TOOLS} tools", param="tools", request=True)
        functions: dict[str, Validator] = {}
        customs: set[str] = set()
        for index, tool in enumerate(check.tools):
            kind = tool.get("type", "function")
            param = f"tools[{index}].{kind}"
            inner = tool.get(kind)
            if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
                raise BadCheck("a tool needs a name", param=f"{param}.name", request=True)
            if kind == "function":
                schema = inner.get("parameters")
                functions[inner["name"]] = compile_schema(
                    {"type": "object"} if schema is None else schema,
                    param=f"{param}.parameters",
                    request=True,
                )
            else:
                customs.add(inner["name"])
        names, required = _read_choice(check.tool_choice, frozenset(functions) | customs)
        allowed = Allowed(
            functions=functions,
            customs=frozenset(customs),
            names=names,
            required=required,
            parallel=check.parallel_tool_calls,
        )
        return Prepared(payload=allowed, contract=AnswerContract(kind="tool_calls", rule="calls"))

    def verify(self, prepared: Prepared, candidate: Candidate, answer: Answer) -> Finding:
        allowed: Allowed = prepared.payload
        calls = candidate.tool_calls
        if not calls:
            if allowed.required:
                return Finding(status=Status.FAIL, reason="tool_call_missing")
            return Finding(status=Status.ABSTAIN, reason="no_tool_call")
        if candidate.finish_reason in ("length", "content_filter"):
            return Finding(status=Status.FAIL, reason=answer.reason)
        if len(calls) > 1 and not allowed.parallel:
            return Finding(
                status=Status.FAIL, reason="too_many_calls", evidence={"calls": len(calls)}
            )
        for call in calls:
            fault = _fault_of(call, allowed)
            if fault is not None:
                return fault
        if all(call.name in allowed.customs for call in calls):
            return Finding(status=Status.ABSTAIN, reason="custom_tool")
        return Finding(status=Status.PASS, reason="well_formed")

    def canaries(self, prepared: Prepared) -> Sequence[Candidate]:
        """A call of a tool that does not exist."""
        allowed: Allowed = prepared.payload
        unknown = "_".join(sorted(allowed.functions.keys() | allowed.customs)) + "_"
        call = ToolCall(id="call_0", name=unknown, arguments="{}")
        return (Candidate(text="", tool_calls=(call,), finish_reason="tool_calls"),)


def _read_choice(choice: Any, known: frozenset[str]) -> tuple[frozenset[str], bool]:
    """Names that may be called, and whether a call must come."""
    if choice is None or choice == "auto":
        return known, False
    if choice == "none":
        return frozenset(), False
    if choice == "required":
        return known, True
    if not isinstance(choice, Mapping):
        raise BadCheck(
            "tool_choice is not one of the known forms", param="tool_choice", request=True
        )
    kind = choice.get("type")
    if kind == "allowed_tools":
        listed = choice.get("allowed_tools")
        listed = listed if isinstance(listed, Mapping) else choice
        tools = listed.get("tools") or ()
        names = frozenset(_name_of(tool) for tool in tools)
        required = listed.get("mode") == "required"
    else:
        names, required = frozenset({_name_of(choice)}), True
    if not names or not names <= known:
        raise BadCheck(
            "tool_choice names no tool of this request", param="tool_choice", request=True
        )
    return names, required


def _name_of(tool: Any) -> str:
    if not isinstance(tool, Mapping):
        return ""
    inner = tool.get(str(tool.get("type")))
    name = inner.get("name") if isinstance(inner, Mapping) else tool.get("name")
    return name if isinstance(name, str) else ""


def _fault_of(call: ToolCall, allowed: Allowed) -> Finding | None:
    evidence: dict[str, Any] = {"name": call.name[:200]}
    if call.name not in allowed.names:
        known = call.name in allowed.functions or call.name in allowed.customs
        reason = "tool_not_allowed" if known else "unknown_tool"
        return Finding(status=Status.FAIL, reason=reason, evidence=evidence)
    if call.name in allowed.customs:
        return None
    try:
        arguments = parse_json(call.arguments)
    except NotStrictJson as refused:
        evidence["message"] = str(refused)
        return Finding(status=Status.FAIL, reason=refused.reason, evidence=evidence)
    fault = first_fault(allowed.functions[call.name], arguments)
    if fault is None:
        return None
    return Finding(status=Status.FAIL, reason="schema_mismatch", evidence={**evidence, **fault})
