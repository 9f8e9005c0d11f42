"""Task → plan: easy or hard, how many samples at first and at most, with which parameters.

Pure: the same task, panel and settings give the same plan.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from app.group import Group
from app.plan import Plan, Reason, Route, VerifierRef, VoteWeights
from app.routing.difficulty import difficulty_by_hand, find_difficulty
from app.routing.features import read_features
from app.routing.model import DifficultyModel
from app.routing.routes import MatchedRoute
from app.settings import DEFAULT_ROUTE, DefaultSettings
from app.task import Effort, RuleName, Task
from verifiers.base import AnswerContract, AnswerKind

CAPS: dict[Effort, int] = {"low": 8, "medium": 16, "high": 40}
MARGIN = 3
"""The lead that settles a vote, in votes."""
SEED_LIMIT = 2**31 - 1
"""Seeds stay in the range that every server accepts."""
COMPUTABLE: frozenset[AnswerKind] = frozenset(
    ("number", "math", "choice", "text", "set", "list", "date")
)
"""Kinds of answers that a program can print."""
EXPLORED_SHARE = 0.05
"""Of the tasks on which a learned score decides, so many are drawn deep whatever it says."""
EXPLORED_SAMPLES = 8
WEIGHED_RULES: tuple[RuleName, ...] = ("margin", "two_kinds")
UNSETTLED = ("cap", "ahead", "samples", "deadline", "engine")
"""Stop reasons after which the vote has not settled anything."""


def make_plan(
    task: Task,
    *,
    contract: AnswerContract,
    verifiers: tuple[VerifierRef, ...],
    policy: str,
    defaults: DefaultSettings,
    engine: str = "",
    route: MatchedRoute | None = None,
    no_programs: str = "no sandbox",
    learned: DifficultyModel | None = None,
) -> Plan:
    """How the task will be answered.

    `engine` is the one that is asked, where it is not the task's; `no_programs` says why none can
    be run here, and is empty when they can; `learned` is what the route has learned of difficulty.

    Off: the client's own parameters, one round of as many samples as it wants choices. Easy: one
    sample, more only when a verifier refutes it. Hard: rounds until the vote or a verifier settles
    it. Where nothing can be checked and nothing counted, more samples could not decide anything,
    so the task is easy however difficult it looks.
    """
    decisive = any(ref.decisive for ref in verifiers)
    features = read_features(
        task.prompt(),
        contract,
        verifiers=len(verifiers),
        decisive=decisive,
        system=task.system(),
        tenant=task.tenant,
    )
    difficulty = difficulty_by_hand(features)
    reasons = difficulty.reasons
    options = task.options
    countable = contract.kind != "none" or bool(verifiers)
    path: Route
    explored = False
    if options.mode == "off":
        path = "off"
        reasons = (Reason(feature="mode", value="off", contribution=0.0),)
    elif not countable:
        path = "easy"
        reasons = (Reason(feature="nothing_to_check", value=True, contribution=0.0), *reasons)
    elif options.mode == "always":
        path = "hard"
        reasons = (Reason(feature="mode", value="always", contribution=0.0), *reasons)
    else:
        keep_vote = _why_keep_vote(task, route, decisive)
        difficulty = find_difficulty(features, learned, policy, keep_vote=keep_vote)
        explored = difficulty.is_learned and _is_explored(task)
        path, reasons = ("hard" if difficulty.is_hard or explored else "easy"), difficulty.reasons

    cap = options.n or CAPS[options.effort]
    if path == "off" or not countable:
        cap = 1
    cap = max(cap, task.choices)
    one_sample = cap == 1
    sent = task.parameters
    rule: RuleName = options.rule
    if rule == "two_kinds" and (why := no_programs or _no_program_for(task, contract, path, cap)):
        rule = "margin"
        reasons = (*reasons, Reason(feature="no_programs", value=why, contribution=0.0))
    margin = _margin_within(cap) if path == "hard" else MARGIN
    votes = margin - 1 if rule == "two_kinds" else margin  # a text and a program may be enough
    first_round = votes if path == "hard" else 1
    if explored:
        first_round = EXPLORED_SAMPLES
        if not difficulty.is_hard:
            # All of them are drawn, whatever they say; what looks hard is voted on to its end.
            rule, cap = "fixed", EXPLORED_SAMPLES
    fallback = route.fallback if route else ""
    return Plan(
        route=path,
        difficulty=difficulty.score,
        threshold=difficulty.threshold,
        reasons=reasons,
        rule=rule,
        first_round=min(max(first_round, task.choices), cap),
        cap=cap,
        margin=margin,
        engine=engine or task.engine,
        policy=policy,
        contract=contract,
        verifiers=verifiers,
        # Clients send low temperatures by habit; samples that are all alike cannot be voted on.
        temperature=sent.temperature if path == "off" or one_sample else defaults.temperature,
        top_p=sent.top_p if path == "off" or one_sample else None,
        max_tokens=sent.max_tokens,
        seed=sent.seed if sent.seed is not None else seed_of(task.trace_id),
        deadline_ms=_first_deadline_ms(options.deadline_ms, fallback, path, countable),
        live=one_sample and not verifiers and _shows_anything(task, route),
        route_name=route_name_of(route),
        max_error=route.max_error if route else None,
        fallback=fallback,
        reuse=route.reuse if route else "exact",
        explored=explored,
    )


def _margin_within(cap: int) -> int:
    """The lead that settles a vote. A client that allows two or three samples gets the lead that
    most of them can have: nobody can overtake it, so a larger one would never be waited for."""
    return min(MARGIN, cap // 2 + 1) if cap > 1 else MARGIN


def _shows_anything(task: Task, route: MatchedRoute | None) -> bool:
    """Whether a sample may be shown before it was decided on: not where the decision can still
    take it back."""
    return task.options.on_unverified == "return" and (route is None or route.max_error is None)


def with_weights(plan: Plan, weights: VoteWeights | None) -> Plan:
    """The plan with what votes weigh on its route under its policy, where its rule asks for a lead
    in votes."""
    if weights is None or plan.route != "hard" or plan.rule not in WEIGHED_RULES:
        return plan
    why = Reason(feature="votes_weighed_by", value=weights.scorer, contribution=0.0)
    return replace(plan, weights=weights, reasons=(*plan.reasons, why))


def route_name_of(route: MatchedRoute | None) -> str:
    """Under which name calibration and difficulty are learned."""
    return route.name if route else DEFAULT_ROUTE


def _is_explored(task: Task) -> bool:
    """Whether this task is drawn deep at random, so that the router learns what one sample would
    have missed. The trace decides, and a client's own bound on samples is kept."""
    cap = task.options.n or CAPS[task.options.effort]
    drawn = seed_of("explored", task.trace_id) < EXPLORED_SHARE * SEED_LIMIT
    return drawn and task.choices <= EXPLORED_SAMPLES <= cap


def _why_keep_vote(task: Task, route: MatchedRoute | None, decisive: bool) -> str:
    """Why a learned score may not take the vote away; empty when it may.

    One sample that nothing can prove is never more than unverified. Who is promised more, or sends
    on what no vote settled, keeps the vote.
    """
    if decisive:
        return ""
    if task.options.on_unverified != "return":
        return f"on_unverified is {task.options.on_unverified}"
    if route is not None and route.max_error is not None:
        return "the route has a max_error"
    if route is not None and route.fallback:
        return "the route has a fallback"
    return ""


def _first_deadline_ms(whole_ms: int, fallback: str, path: Route, countable: bool) -> int:
    """The first stage leaves half of the time to a fallback that its vote may need."""
    shared = fallback and countable and path != "off"
    return max(1, whole_ms // 2) if shared else whole_ms


def _no_program_for(task: Task, contract: AnswerContract, path: Route, cap: int) -> str:
    """Why this task cannot be asked as a program; empty when it can."""
    if path != "hard" or cap == 1:
        return "one sample"
    if contract.kind not in COMPUTABLE:
        return f"the answer is {contract.kind}"
    if task.tools or task.response_format or "structured_outputs" in task.parameters.extra:
        return "the form of the reply is given"
    if task.choices > 1:
        return "several choices are wanted"
    return ""


def falls_short(group: Group) -> bool:
    """Whether this decided stage is given up for its fallback.

    It is when nothing came, when the answer is less sure than the route's `max_error` asks for,
    and when the vote ended without settling anything. A proven answer never is.
    """
    plan, decision = group.plan, group.decision
    if not plan.fallback or decision is None or decision.status == "verified":
        return False
    if plan.live and group.scored:
        return False  # pieces of it may have been sent
    if decision.winner is None:
        return True
    nothing_to_decide = plan.contract.kind == "none" and not plan.verifiers
    if plan.route == "off" or nothing_to_decide:
        return False
    unsettled = decision.stop_reason in UNSETTLED and decision.status != "agreed"
    return decision.abstained or unsettled


def fallback_plan(group: Group, *, engine: str) -> Plan:
    """The plan of the next stage, whose policy its engine knows: all rounds anew, the same checks,
    all the time that is left."""
    plan = group.plan
    return replace(
        plan,
        engine=engine,
        policy="",
        seed=seed_of(plan.seed, "fallback"),
        deadline_ms=group.task.options.deadline_ms,
        fallback="",
        weights=None,  # what a scorer says of another model's samples is not known
        explored=False,
    )


def seed_of(*parts: object) -> int:
    """A stable seed in 0..2^31-2 from any printable parts."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") % SEED_LIMIT
