"""The verifier contract: what a judge is shown, what it may say, and how it is registered.

A verifier looks at one candidate and says pass, fail, abstain or error. It never enforces its own
deadline, isolation or score range: `verifiers.run` does, so a broken plug-in cannot become a pass.
This module holds values and the registry only; it does no I/O and starts no process.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable


class Status(StrEnum):
    """The four outcomes. `abstain` and `error` are never read as zero."""

    PASS = "pass"
    FAIL = "fail"
    ABSTAIN = "abstain"
    ERROR = "error"


Role = Literal["gate", "outcome", "process", "policy", "judge"]
"""What a verdict is worth: gates and policies must pass and earn nothing, outcomes are graded."""

Isolation = Literal["inline", "worker", "sandbox", "remote"]
"""Where it runs. `inline` only for pure, bounded work under a millisecond."""

AnswerKind = Literal[
    "number", "math", "choice", "text", "set", "list", "date", "json", "tool_calls", "code", "none"
]
"""How an answer becomes a vote key. `none`: free prose, on which nobody can vote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One function call as the model wrote it."""

    id: str
    name: str
    arguments: str
    """JSON text, byte for byte: it is never parsed and rewritten, so large integers survive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a verifier is shown of a sample."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = "stop"
    """`length` means the text was cut by the token limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerContract:
    """What counts as the answer of this task and by which rule it is found."""

    kind: AnswerKind = "none"
    rule: str = "auto"
    """Name of the extraction rule; `auto` is the kind's default (verifiers/extract.py)."""
    choices: tuple[str, ...] = ()
    """The allowed letters or labels when `kind` is `choice`."""
    names: tuple[str, ...] = ()
    """What the program must define when `kind` is `code`."""
    percent: Literal["drop", "ratio", "keep"] = "drop"
    """What `15%` is: 15, 0.15, or equal to `15%` only (number, math)."""
    units: Literal["drop", "keep", "convert"] = "drop"
    """Whether a unit is part of the answer, as written or converted (number, math)."""
    order: Literal["any", "same"] = "any"
    """Whether the order of `1, 2` matters (math, list)."""
    dedup: bool = False
    """Whether repeated items count once (list; in a set they always do)."""
    separator: str = ""
    """What stands between items (set, list); empty: found out."""
    day_order: Literal["", "dmy", "mdy"] = ""
    """How `03/05/2024` is read (date); empty: not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a candidate says, extracted once by a named rule."""

    kind: AnswerKind
    rule: str | None
    """The rule that found it; None when nothing was found."""
    text: str = ""
    """As written by the model."""
    key: str | None = None
    """Canonical form: two answers are one vote exactly when their keys are equal. None: no vote."""
    reason: str = ""
    """Why there is no key (`no_answer`, `conflicting_answers`, `truncated`, …)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierSpec:
    """One verifier as asked for, before its options are checked."""

    use: str
    options: Mapping[str, Any] = field(default_factory=dict)
    source: Literal["auto", "request", "route"] = "request"
    param: str = ""
    """Where it came from, for error messages, e.g. `verify.verifiers[1]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a candidate is checked against, apart from a verifier's own options."""

    prompt: str = ""
    """Text of the last user message."""
    system: str = ""
    """Text of the system and developer messages."""
    tools: tuple[Mapping[str, Any], ...] = ()
    """Tool definitions as sent by the client."""
    tool_choice: Any = None
    parallel_tool_calls: bool = True
    response_format: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A verifier's options, parsed once per task."""

    payload: Any
    """Whatever `verify` needs. It stays in the process that prepared it."""
    contract: AnswerContract | None = None
    """The answer this verifier reads; None when it reads the whole candidate."""
    decisive: bool = False
    """True when a pass is proof for this task (a reference, an exact recomputation)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a verifier says; the runner stamps it into a `Verdict`."""

    status: Status
    score: float | None = None
    """0..1 for pass and fail. None means 1 for pass and 0 for fail."""
    reason: str = ""
    """Short code that is safe to show to the client."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """JSON values only; shown in the trace, never in the reply."""
    steps: tuple[float, ...] | None = None
    """Score per step, for process verifiers."""
    step_ends: tuple[int, ...] | None = None
    """Where each of `steps` ends, in characters of the candidate's text; None when not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxJob:
    """What `verify` of a sandboxed verifier asks for: tests to be run against a program."""

    source: str
    """The candidate's program."""
    units: tuple[Mapping[str, Any], ...] = ()
    """Tests, each with its `kind` (verifiers/sandbox/test_side.py)."""
    orders: tuple[tuple[int, ...], ...] = ((),)
    """Indices of the units for each run; every run has a fresh process."""
    entries: tuple[str, ...] = ()
    """Names under test."""
    modules: tuple[str, ...] = ()
    """Names under which the tests import the program."""
    setup: str = ""
    """Python before the tests, in their process."""
    probes: tuple[str, ...] = ()
    """Expressions whose values are told; the empty one stands for the program's output."""
    load: bool = True
    """Whether the program is loaded as a module, or only run as a script."""
    time_limit_ms: float = 2_000.0
    """For all calls of one run together."""
    memory_bytes: int = 512 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One verifier on one sample, as logged."""

    verifier: str
    version: str
    config_hash: str
    """First 12 hex digits of sha256 over the canonical JSON of the options."""
    role: Role
    decisive: bool
    status: Status
    score: float | None = None
    """0..1 for pass and fail, else None."""
    reason: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[float, ...] | None = None
    step_ends: tuple[int, ...] | None = None
    """Characters of the sample's text up to the end of each step."""
    hidden: bool = False
    """True when the client may not learn which verifier this was."""
    wait_ms: float = 0.0
    """Time until a worker took the job; not part of the deadline."""
    run_ms: float = 0.0


class BadCheck(ValueError):
    """The options of a verifier, or the request it reads, cannot be used."""

    def __init__(self, message: str, *, param: str = "", request: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        """Path below the verifier spec, e.g. `reference`; the runner prefixes where the spec is."""
        self.request = request
        """True when `param` is a path of the request itself, e.g. `tools[0].function`."""


class UnknownVerifier(BadCheck):
    """No verifier is registered under this name."""


class SandboxVerifier(Protocol):
    """What a verifier with isolation `sandbox` has beside the rest of the contract.

    Its `verify` may return a `SandboxJob` instead of a finding; the runner runs it and asks again.
    """

    def conclude(
        self,
        prepared: Prepared,
        candidate: Candidate,
        answer: Answer,
        report: Mapping[str, Any],
    ) -> Finding:
        """Judge by what the runs of the job came to."""
        ...


class Ask(Protocol):
    """Asks a model; handed to the runner by whoever has one.

    Returns its text, which follows the JSON Schema `schema` as far as the server keeps to it. May
    raise anything.
    """

    async def __call__(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, Any],
        max_tokens: int,
    ) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question about a material, answered by one word of several."""

    id: str
    text: str
    words: Mapping[str, str]
    """What may be answered, each with what it means; in the order in which it is offered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What a model answered to a question, read off its next token."""

    word: str
    confidence: float
    """Probability of the word among all tokens, 0..1; not calibrated."""


@runtime_checkable
class Decides(Protocol):
    """An `Ask` that may be able to have questions answered without any text being written."""

    async def decide(
        self, material: str, questions: Sequence[Question]
    ) -> Sequence[Decided] | None:
        """An answer to every question, in order. None: ask in words; the server cannot do it, or
        declined. May raise anything."""
        ...


class RemoteVerifier(Protocol):
    """What a built-in verifier with isolation `remote` has beside the rest of the contract."""

    async def consult(
        self, prepared: Prepared, candidate: Candidate, answer: Answer, ask: Ask | None
    ) -> Finding:
        """Judge with the help of a model; `ask` is None when there is none."""
        ...


@runtime_checkable
class Watchable(Protocol):
    """A verifier that knows answers which it must never pass."""

    def canaries(self, prepared: Prepared) -> Sequence[Candidate]:
        """Candidates that are wrong whatever the options say; none when there is no such."""
        ...


@runtime_checkable
class Verifier(Protocol):
    """One kind of judge. Instances are stateless and shared by all requests.

    `verify` must be a pure function of its arguments. It may raise: the runner turns that into
    the verdict `error`.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    role: ClassVar[Role]
    isolation: ClassVar[Isolation]
    options: ClassVar[Mapping[str, str]]
    """Every option it knows, with one line on what it means. Others are refused."""

    def detect(self, check: Check) -> Mapping[str, Any] | None:
        """Options when the request itself says how to check it, else None (not attached)."""
        ...

    def prepare(self, options: Mapping[str, Any], check: Check) -> Prepared:
        """Parse options, references and schemas once. Raises `BadCheck` with the option's name."""
        ...

    def verify(
        self, prepared: Prepared, candidate: Candidate, answer: Answer
    ) -> Finding | SandboxJob:
        """Judge one candidate. `answer` follows `prepared.contract` (kind `none` without one)."""
        ...


@runtime_checkable
class Shortcut(Protocol):
    """A built-in verifier for workers that settles easy cases on the spot.

    Both methods are pure and take less than a millisecond; None leaves the case to a worker.
    """

    preload: ClassVar[tuple[str, ...]]
    """Modules that its workers need and that take long to load."""

    def prepare_inline(self, options: Mapping[str, Any], check: Check) -> Prepared | None: ...

    def verify_inline(
        self, prepared: Prepared, candidate: Candidate, answer: Answer
    ) -> Finding | None: ...


V = TypeVar("V", bound=type[Any])

_REGISTRY: dict[str, Verifier] = {}


def register(cls: V) -> V:
    """Class decorator: make the verifier known under its `name`."""
    instance = cls()
    if not isinstance(instance, Verifier):
        raise TypeError(f"{cls.__name__} lacks a part of the verifier contract")
    _REGISTRY[instance.name] = instance
    return cls


def get_verifier(name: str) -> Verifier:
    """The registered verifier, or `UnknownVerifier` naming the nearest known ones."""
    try:
        return _REGISTRY[name]
    except KeyError:
        near = difflib.get_close_matches(name, _REGISTRY, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        known = ", ".join(sorted(_REGISTRY))
        raise UnknownVerifier(
            f"unknown verifier '{name}'; {hint}known: {known}", param="use"
        ) from None


def known_verifiers() -> tuple[Verifier, ...]:
    """All registered verifiers, in order of their names."""
    return tuple(_REGISTRY[name] for name in sorted(_REGISTRY))


def detect_specs(check: Check) -> tuple[VerifierSpec, ...]:
    """Verifiers that the request itself calls for, in order of their names."""
    found = []
    for verifier in known_verifiers():
        options = verifier.detect(check)
        if options is not None:
            found.append(
                VerifierSpec(use=verifier.name, options=options, source="auto", param=verifier.name)
            )
    return tuple(found)
