"""`math`: the answer has the value of the reference, whatever its spelling.

Written numbers are compared exactly, at once. Everything else goes to two independent engines in a
worker: ours (verifiers/algebra) and Math-Verify. Both say equal: pass. Both say different: fail.
Anything else is `abstain`, because each engine alone is wrong in ways of its own (docs/decisions
0010). A number that is left to be worked out (`2+2`, `10/5`) and an expression that only repeats
the prompt fail. It knows nothing of the way to the answer.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from verifiers import second_engine
from verifiers.algebra.compare import compare
from verifiers.algebra.limits import INLINE, WORKER, Limits, NotMath, Work
from verifiers.algebra.render import in_base_units, to_latex
from verifiers.algebra.syntax import read_tree
from verifiers.algebra.tokens import translate
from verifiers.algebra.values import Policy, Value, read_inline, read_value, spelling
from verifiers.algebra.vocabulary import FUNCTIONS
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
from verifiers.canonical import NotCanonical, text_key
from verifiers.extract import known_rules
from verifiers.options import choose
from verifiers.places import formulas, read_rule

MAX_EVIDENCE_CHARS = 300
MAX_ECHO_CHARS = 400


@dataclass(frozen=True, slots=True)
class Written:
    """One formula as text and value."""

    text: str
    value: Value


@dataclass(frozen=True, slots=True)
class Wanted:
    reference: Written | None
    policy: Policy
    unevaluated: bool
    """Whether `2+2` may stand for 4."""
    echoes: frozenset[str]
    """Formulas of the prompt that are work, not answers."""


@register
class Math:
    name: ClassVar[str] = "math"
    version: ClassVar[str] = "1"
    role: ClassVar[Role] = "outcome"
    isolation: ClassVar[Isolation] = "worker"
    preload: ClassVar[tuple[str, ...]] = second_engine.MODULES
    options: ClassVar[Mapping[str, str]] = {
        "reference": "The right answer in LaTeX or plain; without it nothing is proven.",
        "percent": "What `15%` is: `drop` (default): 15. `ratio`: 0.15. `keep`: only `15%`.",
        "units": "`drop` (default): `18 cm` is 18. `keep`: the unit must be the same. "
        "`convert`: `0.18 m` is the same.",
        "order": "`any` (default): `1, 2` without brackets is a set. `same`: it is a list.",
        "form": "`evaluated` (default): `2+2` is no answer where 4 is one. `any`: it is.",
        "extract": "The rule that finds the answer. Default: `auto`, all of them in their order.",
    }

    def detect(self, check: Check) -> None:
        return None

    def prepare(self, options: Mapping[str, Any], check: Check) -> Prepared:
        return _prepare(options, check, WORKER)

    def prepare_inline(self, options: Mapping[str, Any], check: Check) -> Prepared | None:
        try:
            return _prepare(options, check, INLINE)
        except NotMath:
            return None

    def verify_inline(
        self, prepared: Prepared, candidate: Candidate, answer: Answer
    ) -> Finding | None:
        wanted: Wanted = prepared.payload
        if answer.key is None:
            return Finding(status=Status.FAIL, reason=answer.reason)
        if wanted.reference is None:
            return Finding(status=Status.ABSTAIN, reason="no_reference")
        if wanted.reference.value.kind == "text":
            return _compare_words(wanted.reference.value, answer)
        said = read_inline(answer.text, wanted.policy)
        if isinstance(said, NotMath):
            return None
        return _settle(wanted, wanted.reference, Written(answer.text, said))

    def verify(self, prepared: Prepared, candidate: Candidate, answer: Answer) -> Finding:
        settled = self.verify_inline(prepared, candidate, answer)
        if settled is not None:
            return settled
        wanted: Wanted = prepared.payload
        assert wanted.reference is not None
        try:
            said = _read(answer.text, wanted.policy, WORKER)
            settled = _settle(wanted, wanted.reference, said)
            if settled is not None:
                return settled
            ours = compare(wanted.reference.value, said.value, Work(WORKER))
        except NotMath as unread:
            return Finding(
                status=Status.ABSTAIN,
                reason=unread.reason,
                evidence={"got": answer.text[:MAX_EVIDENCE_CHARS]},
            )
        if ours == "unknown":
            return Finding(status=Status.ABSTAIN, reason="not_comparable")
        theirs = second_engine.compare(
            _for_second(wanted.reference, wanted.policy), _for_second(said, wanted.policy)
        )
        return _conclude(wanted.reference, said, ours, theirs)

    def canaries(self, prepared: Prepared) -> Sequence[Candidate]:
        """Two answers are none, and neither is an empty box."""
        texts = ("\\boxed{1}\n\\boxed{2}", "\\boxed{}")
        return tuple(Candidate(text=text) for text in texts)


def _prepare(options: Mapping[str, Any], check: Check, limits: Limits) -> Prepared:
    policy = Policy(
        percent=choose(options, "percent", ("drop", "ratio", "keep")),
        units=choose(options, "units", ("drop", "keep", "convert")),
        order=choose(options, "order", ("any", "same")),
    )
    unevaluated = choose(options, "form", ("evaluated", "any")) == "any"
    contract = AnswerContract(
        kind="math",
        rule=read_rule(options.get("extract", "auto"), known_rules("math")),
        percent=policy.percent,
        units=policy.units,
        order=policy.order,
    )
    if options.get("reference") is None:
        return Prepared(payload=Wanted(None, policy, unevaluated, frozenset()), contract=contract)
    reference = _read_reference(options["reference"], policy, limits)
    if policy.units == "convert" and not _has_unit(reference.value):
        raise BadCheck("a reference to convert has a unit, e.g. `18 cm`", param="reference")
    own = spelling(reference.text)
    echoes = frozenset(_open_work(check.prompt) - {own})
    wanted = Wanted(reference, policy, unevaluated or _is_open(reference.value), echoes)
    return Prepared(payload=wanted, contract=contract, decisive=True)


def _read_reference(reference: object, policy: Policy, limits: Limits) -> Written:
    """The reference; in a worker whatever cannot be read is the client's mistake."""
    if isinstance(reference, bool) or not isinstance(reference, str | int | float):
        raise BadCheck("reference must be a text or a number", param="reference")
    text = str(reference)
    try:
        return _read(text, policy, limits)
    except NotMath as unread:
        if limits is INLINE and unread.reason == "too_complex":
            raise
        reason = unread.reason
    except NotCanonical as refused:
        reason = refused.reason
    raise BadCheck(f"reference cannot be read ({reason}): {text[:60]!r}", param="reference")


def _read(text: str, policy: Policy, limits: Limits) -> Written:
    return Written(text, read_value(text, policy, limits))


def _settle(wanted: Wanted, reference: Written, said: Written) -> Finding | None:
    """What needs no engine: written numbers, unfinished work, the reference's own spelling."""
    evidence = {
        "expected": reference.value.key[:MAX_EVIDENCE_CHARS],
        "got": said.value.key[:MAX_EVIDENCE_CHARS],
    }
    if not wanted.unevaluated and _is_open(said.value):
        return Finding(status=Status.FAIL, reason="unevaluated", evidence=evidence)
    if reference.value.is_written and said.value.is_written:
        same = reference.value.key == said.value.key
        status = Status.PASS if same else Status.FAIL
        return Finding(status=status, reason="equal" if same else "different", evidence=evidence)
    own = spelling(said.text)
    if own == spelling(reference.text):
        return Finding(status=Status.PASS, reason="equal", evidence=evidence)
    if own in wanted.echoes:
        return Finding(status=Status.FAIL, reason="echo", evidence=evidence)
    return None


def _conclude(reference: Written, said: Written, ours: str, theirs: str) -> Finding:
    evidence = {
        "expected": reference.value.key[:MAX_EVIDENCE_CHARS],
        "got": said.value.key[:MAX_EVIDENCE_CHARS],
        "engines": {"strict": ours, "math_verify": theirs},
    }
    if theirs == "missing":
        evidence["install"] = second_engine.INSTALL
        return Finding(status=Status.ABSTAIN, reason="second_engine_missing", evidence=evidence)
    if theirs == "unknown":
        return Finding(status=Status.ABSTAIN, reason="one_engine_only", evidence=evidence)
    if ours != theirs:
        return Finding(status=Status.ABSTAIN, reason="engines_disagree", evidence=evidence)
    status = Status.PASS if ours == "equal" else Status.FAIL
    return Finding(status=status, reason=ours, evidence=evidence)


def _compare_words(reference: Value, answer: Answer) -> Finding:
    """Words are compared as words; a lone letter is one too."""
    try:
        value = read_inline(answer.text, Policy())
        if isinstance(value, Value) and value.kind == "text":
            said = value.name
        else:
            said = text_key(answer.text.strip("$ "))
    except NotCanonical as refused:
        return Finding(status=Status.FAIL, reason=refused.reason)
    evidence = {"expected": reference.name, "got": said[:MAX_EVIDENCE_CHARS]}
    same = said == reference.name
    return Finding(
        status=Status.PASS if same else Status.FAIL,
        reason="equal" if same else "different",
        evidence=evidence,
    )


def _has_unit(value: Value) -> bool:
    return value.kind == "unit" or (bool(value.parts) and all(map(_has_unit, value.parts)))


def _for_second(written: Written, policy: Policy) -> str:
    """LaTeX for the second engine: as written, unless the spelling is plain.

    It knows no units, so measures that are to be converted are handed to it converted.
    """
    plain = translate(written.text)
    if policy.units == "convert":
        return to_latex(in_base_units(read_tree(plain, WORKER)))
    return to_latex(read_tree(plain, WORKER)) if _PLAIN_WORD.search(plain) else plain


def _is_open(value: Value) -> bool:
    """True for a number that is left to be worked out, with or without a unit."""
    bare = value.parts[0] if value.kind == "unit" else value
    return bare.exact is not None and not bare.literal


def _open_work(prompt: str) -> set[str]:
    """Spellings of the formulas of a prompt that are more than one number, name or root."""
    spellings = set()
    for _, formula in formulas(prompt[-8_000:]):
        with contextlib.suppress(NotCanonical):
            spellings.add(spelling(formula[:MAX_ECHO_CHARS]))
    return {text for text in spellings if _WORK.search(text)}


_PLAIN_WORD = re.compile(rf"(?<![\\A-Za-z])(?:sqrt|pi|{'|'.join(sorted(FUNCTIONS))})(?![A-Za-z])")
_WORK = re.compile(r".[-+*<>=]|\\(?:cdot|times|div|pm|le|ge|in)(?![a-z])|\)[\^(]|[0-9a-z]\(")
