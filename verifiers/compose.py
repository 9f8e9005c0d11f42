"""Verdicts → reward, and what verdicts say about an answer.

Gates and policies must pass and earn nothing; outcomes are graded:
`reward = Π gates × Σ wᵢ·sᵢ / Σ wᵢ`. What could not be checked has no reward: None is never 0.
Where a task has judges and no outcome verifier, the judges are graded in their place. Process
scores are kept apart from the outcome: they are rewards of steps.
"""

from __future__ import annotations

from collections.abc import Sequence

from verifiers.base import Role, Status, Verdict

_MUST_PASS = ("gate", "policy")


def compose_reward(
    verdicts: Sequence[Verdict],
    weights: Sequence[float] | None = None,
    *,
    min_covered: float = 0.0,
) -> float | None:
    """Reward of one sample, 0..1, or None when it could not be checked.

    `weights` goes with `verdicts` one to one; without it every verdict weighs the same. An `error`
    of a gate, policy or graded verdict makes it None. A failed gate makes it 0, graded or not.
    `min_covered` is the share of the weight that must not have abstained.
    """
    role = graded_role(verdicts)
    counted = [v for v in verdicts if v.role in (*_MUST_PASS, role)]
    if any(v.status is Status.ERROR for v in counted):
        return None
    if any(v.role in _MUST_PASS and v.status is Status.FAIL for v in counted):
        return 0.0
    paired = list(zip(verdicts, weights or [1.0] * len(verdicts), strict=True))
    whole = sum(weight for verdict, weight in paired if verdict.role == role)
    graded = [(v.score, weight) for v, weight in paired if v.role == role and v.score is not None]
    covered = sum(weight for _, weight in graded)
    if covered <= 0 or covered < min_covered * whole:
        return None
    return sum(score * weight for score, weight in graded) / covered


def graded_role(verdicts: Sequence[Verdict]) -> Role:
    """Whose scores make the reward: the outcomes', or the judges' where there is no outcome."""
    return "outcome" if any(verdict.role == "outcome" for verdict in verdicts) else "judge"


def process_rewards(verdicts: Sequence[Verdict]) -> dict[str, tuple[float, ...]]:
    """The score of every step by the verifier that found them; never part of the reward."""
    return {v.verifier: v.steps for v in verdicts if v.role == "process" and v.steps is not None}


def process_ends(verdicts: Sequence[Verdict]) -> dict[str, tuple[int, ...]]:
    """Where the steps of `process_rewards` end, of the verifiers that say so."""
    return {
        v.verifier: v.step_ends for v in verdicts if v.role == "process" and v.step_ends is not None
    }


def gates_pass(verdicts: Sequence[Verdict]) -> bool:
    """True when nothing forbids a vote: every policy passed and no gate failed or broke.

    A gate that abstains is not concerned; a policy that abstains did not pass.
    """
    for verdict in verdicts:
        if verdict.role == "policy" and verdict.status is not Status.PASS:
            return False
        if verdict.role == "gate" and verdict.status in (Status.FAIL, Status.ERROR):
            return False
    return True


def is_refuted(verdicts: Sequence[Verdict]) -> bool:
    """True when a gate, policy, outcome or process verifier failed this answer."""
    roles = (*_MUST_PASS, "outcome", "process")
    return any(v.role in roles and v.status is Status.FAIL for v in verdicts)


def is_verified(verdicts: Sequence[Verdict]) -> bool:
    """True when a decisive outcome verifier passed, every gate let it through, and none erred."""
    if any(v.status is Status.ERROR for v in verdicts) or is_refuted(verdicts):
        return False
    proof = any(v.decisive and v.role == "outcome" and v.status is Status.PASS for v in verdicts)
    return proof and gates_pass(verdicts)
