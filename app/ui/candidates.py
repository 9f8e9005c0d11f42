"""The candidates of a group side by side, each with what every verifier said about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.group import Group
from app.plan import VerifierRef
from app.sample import Sample, Scored
from app.ui.shown import Shown, show, show_json, show_line, show_ms, show_number
from app.ui.words import BADGES, ROLES, Badge, why_no_vote
from app.voting.tally import is_proven
from verifiers.base import Verdict

UNFOLDED = 400
"""Characters; longer texts start folded."""

_MARKS = {
    "code_fence_removed": "code fence removed",
    "bad_unicode": "broken characters replaced",
}
_OF_PROGRAMS = ("program_run", "program_not_run")
"""No marks: that a text is a program's output is told by its kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierHead:
    """One verifier of the matrix."""

    name: str
    about: str
    """Version, role, who attached it and whether its pass is proof."""
    decisive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One verifier on one candidate."""

    verifier: str
    state: Badge
    """Pass, fail, abstain, error, or not run."""
    score: str
    """0..1; empty where there is none."""
    reason: str
    """The verifier's short code; empty when it gave none."""
    evidence: Shown | None
    """What the verifier found, as JSON; None when it kept nothing."""
    about: str
    """Version, role and times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateView:
    """One sample as the page shows it."""

    number: int
    """Position in drawing order, from 1."""
    anchor: str
    """Id of its element, so that it can be linked to."""
    won: bool
    differs: bool
    """True when it says something else than the winner."""
    answer: Shown | None
    """The extracted answer; None when none was found."""
    rule: str
    """The rule that found the answer; empty without one."""
    no_vote: str
    """Why it did not vote; empty when it did."""
    text: Shown
    """What would be served; empty for a pure tool call."""
    preview: str
    """Its beginning on one line."""
    short: bool
    """True when the text is short enough to stand unfolded."""
    tools: tuple[tuple[str, Shown], ...]
    """Name and arguments of each tool call, arguments digit by digit as written."""
    raw: Shown | None
    """What the model wrote, where it was changed before it was served."""
    reasoning: Shown | None
    finish: str
    kind: str
    """`program` where the text is what a program printed; empty for a plain text."""
    stage: str
    """Whose it is, where two models were asked; empty where one was."""
    marks: tuple[str, ...]
    """Cancelled, altered, refused: what sets it apart."""
    tokens: str
    seed: str
    temperature: str
    time: str
    round: int
    reward: str
    cells: tuple[Cell, ...]
    """In the order of the matrix."""


def said_by(scored: Scored) -> str:
    """The answer as people read it: the vote key where it is short by nature, else as written.

    Empty when none was found.
    """
    answer = scored.answer
    if answer.key is None or answer.kind in ("number", "choice", "tool_calls"):
        return answer.key or ""
    return answer.text or answer.key


def verifier_heads(group: Group) -> tuple[VerifierHead, ...]:
    """The verifiers of the matrix, in the plan's order."""
    return tuple(
        VerifierHead(
            name=show_line(ref.name, 60),
            about=f"version {show_line(ref.version, 20)}, {ROLES[ref.role]}, attached by "
            f"{_SOURCES[ref.source]}" + (", a pass is proof" if ref.decisive else ""),
            decisive=ref.decisive,
        )
        for ref in group.plan.verifiers
    )


_SOURCES = {"auto": "the prompt itself", "request": "the request", "route": "the configuration"}


def candidate_views(group: Group) -> tuple[CandidateView, ...]:
    """Every sample of the group, in drawing order."""
    proven = {scored.sample.stage for scored in group.scored if is_proven(scored)}
    return tuple(
        _candidate(group, scored, scored.sample.stage in proven)
        for scored in in_drawing_order(group.scored)
    )


def in_drawing_order(scored: Sequence[Scored]) -> list[Scored]:
    """The record keeps samples as they arrived; people look for them by number."""
    return sorted(scored, key=lambda each: each.sample.index)


def _candidate(group: Group, scored: Scored, proven: bool) -> CandidateView:
    sample, answer, winner = scored.sample, scored.answer, group.winner
    temperature = group.plan_of(sample).temperature
    return CandidateView(
        number=sample.index + 1,
        anchor=f"candidate-{sample.index + 1}",
        won=winner is not None and winner.sample.index == sample.index,
        differs=winner is not None and answer.key != winner.answer.key,
        answer=show(said_by(scored), 300) if answer.key is not None else None,
        rule=(answer.rule or "").replace("_", " "),
        no_vote=why_no_vote(scored, proven=proven),
        text=show(sample.text),
        preview=show_line(sample.text or said_by(scored), 110),
        short=len(sample.text) <= UNFOLDED,
        tools=tuple((show_line(c.name, 80), show(c.arguments)) for c in sample.tool_calls),
        raw=show(sample.raw_text) if sample.raw_text is not None else None,
        reasoning=show(sample.reasoning) if sample.reasoning else None,
        finish=show_line(sample.finish_reason or "never ended", 40),
        kind="program" if sample.kind == "program" else "",
        stage=_stage(group, sample),
        marks=_marks(sample),
        tokens=f"{sample.completion_tokens:,}",
        seed="–" if sample.seed is None else str(sample.seed),
        temperature=show_number(temperature, 2),
        time=show_ms(sample.finished_ms - sample.started_ms),
        round=sample.round,
        reward=show_number(scored.reward),
        cells=tuple(_cell(ref, scored.verdicts) for ref in group.plan.verifiers),
    )


def _stage(group: Group, sample: Sample) -> str:
    if not group.earlier and group.unused is None:
        return ""
    return "fallback" if sample.stage else "first model"


def _marks(sample: Sample) -> tuple[str, ...]:
    marks = ["cancelled"] if sample.cancelled else []
    marks += ["refused"] if sample.refusal else []
    changes = (word for word in sample.altered if word not in _OF_PROGRAMS)
    return (*marks, *(_MARKS.get(word, show_line(word, 40)) for word in changes))


def _cell(ref: VerifierRef, verdicts: tuple[Verdict, ...]) -> Cell:
    name = show_line(ref.name, 60)
    for verdict in verdicts:
        if (verdict.verifier, verdict.config_hash) == (ref.name, ref.config_hash):
            return Cell(
                verifier=name,
                state=BADGES[verdict.status],
                score=show_number(verdict.score) if verdict.score is not None else "",
                reason=show_line(verdict.reason.replace("_", " "), 120),
                evidence=show_json(verdict.evidence, 4_000) if verdict.evidence else None,
                about=f"version {show_line(verdict.version, 20)}, {ROLES[verdict.role]}, "
                f"{show_ms(verdict.run_ms)} of work after {show_ms(verdict.wait_ms)} in the queue",
            )
    return Cell(
        verifier=name, state=BADGES["missing"], score="", reason="", evidence=None, about=""
    )
