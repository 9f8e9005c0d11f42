"""The labelled log → one calibration for each route and policy.

A policy that was just promoted has none: what its predecessor's agreement was worth says little
about its own. It starts without numbers and gets them with its first `MIN_LABELS` labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from app.group import Group
from app.voting.confidence import WINDOW, Calibration, Outcome, calibrate, evidence_of
from app.voting.weights import contested
from verifiers.base import AnswerKind

Key = tuple[str, str]
"""Name of the route, and policy."""
ONE_FORM: frozenset[AnswerKind] = frozenset(("number", "choice", "date"))
"""Kinds whose vote key is the only form of an answer, so that another key is another answer."""


class Labelled(Protocol):
    """A group of which somebody knows whether its answer was right."""

    @property
    def group(self) -> Group: ...

    @property
    def right(self) -> bool | None:
        """Whether the answer that was served is right; None when nobody said."""

    @property
    def truth(self) -> str | None:
        """Vote key of the right answer; None when it is not known."""

    @property
    def source(self) -> str:
        """`label`: a person said so; `verifier`; `vote`."""


def calibrations_from(
    labelled: Iterable[Labelled], before: Mapping[Key, Calibration] | None = None
) -> dict[Key, Calibration]:
    """What is known after these labels; `before`: what was known until then.

    Labels come in the order in which they became known. A later word on the same trace replaces
    the earlier one. Each calibration rests on the newest `WINDOW` labels of answers with a proof
    and as many of answers without.
    """
    known = dict(before or {})
    news: dict[Key, dict[str, Outcome]] = {}
    for each in labelled:
        for key, outcome in outcomes_of(each).items():
            news.setdefault(key, {})[outcome.trace_id] = outcome
    for (route, policy), outcomes in news.items():
        old = known.get((route, policy))
        merged = {outcome.trace_id: outcome for outcome in (old.outcomes if old else ())}
        newest = _newest(list((merged | outcomes).values()))
        known[route, policy] = calibrate(newest, route=route, policy=policy)
    return known


def outcomes_of(labelled: Labelled) -> dict[Key, Outcome]:
    """What one group says about the policy of each of its stages.

    A verifier's word counts where it refuted: that what it passed is right is no news about it. A
    stage that was given up is judged by the answer that turned out to be right.
    """
    found: dict[Key, Outcome] = {}
    group, right = labelled.group, labelled.right
    if labelled.source == "vote":
        return found
    served = _said(group)
    for stage in _stages(group):
        if stage is not group:
            right = _judge(stage, served, labelled)
        evidence = evidence_of(stage)
        own_word = evidence.proven and labelled.source == "verifier"
        if right is not None and not own_word:
            truth = _said(stage) if right else None
            outcome = Outcome(
                evidence=evidence,
                right=right,
                contested={} if truth is None else contested(stage, truth),
                trace_id=group.trace_id,
                said=stage.decision.confidence if stage.decision else None,
            )
            found.setdefault((stage.plan.route_name, stage.plan.policy), outcome)
    return found


def _stages(group: Group) -> Iterator[Group]:
    """The group as it stood at the end of each stage, the last one first."""
    yield group
    while group.earlier:
        group = group.previous_stage()
        yield group


def _judge(stage: Group, served: str | None, labelled: Labelled) -> bool | None:
    """Whether the answer of a stage that was given up is right, by what is known of the served."""
    said = _said(stage)
    if said is not None and said == served:
        return labelled.right
    if labelled.truth is None or stage.plan.contract.kind not in ONE_FORM:
        return None
    return said == labelled.truth


def _said(group: Group) -> str | None:
    return group.winner.answer.key if group.winner else None


def _newest(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The newest of each kind, oldest first."""
    left = {True: WINDOW, False: WINDOW}
    kept = []
    for outcome in reversed(outcomes):
        left[outcome.evidence.proven] -= 1
        if left[outcome.evidence.proven] >= 0:
            kept.append(outcome)
    return kept[::-1]
