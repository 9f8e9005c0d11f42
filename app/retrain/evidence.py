"""What the gate knows of a policy: its answers to the held-out prompts. Views of groups.

Both policies answer the same prompts with the same seeds. The groups must have been drawn in one
round to its end: a vote that stops at the first right answer has more right answers in its log
than the policy gives.
"""

from __future__ import annotations

import json
import statistics
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from app.group import Group
from app.retrain.advantages import SAME
from app.sample import Scored
from app.store.sides import Side
from app.store.training_rows import hash_prompt, hidden_score, training_reward
from app.voting.reliability import Believed
from verifiers.base import Candidate
from verifiers.compose import is_verified
from verifiers.extract import extract_answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One sample of a policy."""

    text: str
    finish_reason: str | None
    tokens: int
    """Of the completion."""
    answer: str | None
    """Vote key; None when it says none."""
    reward: float | None
    """0..1, by the verifiers that rewards come from; None when it could not be checked."""
    hidden: float | None = None
    """0..1, by verifiers that no reward ever came from; None without such."""
    refused: bool = False
    """The server itself marked it as a refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One policy on one held-out prompt."""

    prompt: str
    """Hash of the prompt."""
    cluster: str
    """Near-duplicates share it."""
    drawn: tuple[Drawn, ...]
    """At the serving temperature, all of one round."""
    voted: bool | None
    """vote@k: whether the most frequent answer is right; None when it could not be checked."""
    verified: bool | None
    """verified@k: whether any sample was proven right; None where nothing can prove one."""
    greedy: bool | None = None
    """Whether the sample at temperature 0 is right; None when there is none."""
    believed: Believed | None = None
    """The confidence that the answer was served with, and whether it was right."""
    reference: str | None = None
    """Vote key of the right answer; None where the task names none, or none that can be voted on.
    """
    slices: Mapping[str, str] = field(default_factory=dict)
    """Dimension → value: `task`, `difficulty`, `script`."""

    @property
    def pass_at_1(self) -> float | None:
        """Mean reward of the samples that could be checked."""
        return _mean(sample.reward for sample in self.drawn)

    @property
    def hidden(self) -> float | None:
        """Mean score by hidden verifiers."""
        return _mean(sample.hidden for sample in self.drawn)

    @property
    def tokens(self) -> float:
        """Completion tokens a sample."""
        return statistics.fmean(sample.tokens for sample in self.drawn)


@dataclass(frozen=True, slots=True)
class Pair:
    """Both policies on one prompt."""

    incumbent: Outcome
    candidate: Outcome


def outcome_of(group: Group, greedy: Group | None = None, side: Side | None = None) -> Outcome:
    """What a group of held-out samples says, with the group of one greedy sample beside it.

    Raises `ValueError` when nothing was drawn or the prompt was not kept.
    """
    prompt = hash_prompt(group)
    if prompt is None or not group.scored:
        raise ValueError(f"{group.trace_id} has no prompt or no sample to compare")
    return Outcome(
        prompt=prompt,
        cluster=side.cluster if side else prompt,
        drawn=tuple(_drawn(scored) for scored in group.scored),
        voted=_is_right(_voted_for(group)),
        verified=_verified(group),
        greedy=_is_right(greedy.scored[0]) if greedy and greedy.scored else None,
        believed=_believed(group),
        reference=_reference(group),
        slices={
            "task": f"{group.plan.route_name}/{group.plan.contract.kind}",
            "difficulty": group.plan.route,
            "script": script_of(group.task.prompt()),
        },
    )


def pair_up(incumbent: Iterable[Outcome], candidate: Iterable[Outcome]) -> tuple[Pair, ...]:
    """Both policies, prompt by prompt, on what both were asked.

    A prompt that was left out for one of them, because a verifier could not be prepared just then,
    says nothing of either. Raises `ValueError` when a prompt was answered twice.
    """
    old, new = _by_prompt(incumbent), _by_prompt(candidate)
    return tuple(Pair(old[prompt], new[prompt]) for prompt in sorted(old.keys() & new.keys()))


def script_of(text: str) -> str:
    """The writing that most letters of a text belong to, as in `latin` or `cyrillic`."""
    letters = Counter(
        unicodedata.name(character, "other").split()[0].lower()
        for character in text[:2_000]
        if character.isalpha()
    )
    return max(letters, key=lambda name: (letters[name], name), default="none")


def _drawn(scored: Scored) -> Drawn:
    sample = scored.sample
    return Drawn(
        text=sample.text if sample.raw_text is None else sample.raw_text,
        finish_reason=sample.finish_reason,
        tokens=sample.completion_tokens,
        answer=scored.answer.key,
        reward=training_reward(scored),
        hidden=hidden_score(scored),
        refused=sample.refusal is not None,
    )


def _voted_for(group: Group) -> Scored | None:
    """First sample with the most frequent answer, whatever verifiers think of it.

    Ties go to the answer that was said first. None when no answer was said.
    """
    said = [scored for scored in group.scored if scored.answer.key is not None]
    counts = Counter(scored.answer.key for scored in said)
    return max(said, key=lambda scored: counts[scored.answer.key], default=None)


def _is_right(scored: Scored | None) -> bool | None:
    """No answer is a wrong one; what could not be checked is neither."""
    if scored is None:
        return False
    reward = training_reward(scored)
    return None if reward is None else reward >= 1 - SAME


def _verified(group: Group) -> bool | None:
    if not any(ref.decisive for ref in group.plan.verifiers):
        return None
    return any(is_verified(scored.verdicts) for scored in group.scored)


def _believed(group: Group) -> Believed | None:
    decision = group.decision
    if decision is None or decision.confidence is None or decision.winner is None:
        return None
    served = next((s for s in group.scored if s.sample.index == decision.winner), None)
    right = None if served is None else _is_right(served)
    return None if right is None else Believed(confidence=decision.confidence, right=right)


def _reference(group: Group) -> str | None:
    """The right answer as a sample would say it, from the first verifier that proves with one."""
    decisive = {ref.name for ref in group.plan.verifiers if ref.decisive}
    for spec in group.task.options.verifiers:
        named = spec.options.get("reference")
        if spec.use not in decisive or named is None:
            continue
        text = named if isinstance(named, str) else json.dumps(named, ensure_ascii=False)
        # A reference is written bare, wherever samples are asked to put their answers.
        contract = replace(group.plan.contract, rule="auto")
        for said in (text, f"Answer: {text}"):
            candidate = Candidate(text=said, finish_reason="stop")
            if (key := extract_answer(candidate, contract).key) is not None:
                return key
    return None


def _by_prompt(outcomes: Iterable[Outcome]) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    for outcome in outcomes:
        if outcome.prompt in found:
            raise ValueError(f"prompt {outcome.prompt} was answered twice")
        found[outcome.prompt] = outcome
    return found


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
