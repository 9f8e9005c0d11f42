"""One trace as a page: a pure view of a group, from the verdict down to the raw request."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from app.group import Group
from app.sample import Scored
from app.store.base import Label
from app.store.content import level_of
from app.ui.candidates import (
    CandidateView,
    VerifierHead,
    candidate_views,
    in_drawing_order,
    said_by,
    verifier_heads,
)
from app.ui.labels import LabelPanel, label_panel
from app.ui.raw_request import repeat_command, request_body
from app.ui.route_view import RouteView, route_view
from app.ui.shown import (
    Shown,
    show,
    show_json,
    show_line,
    show_ms,
    show_number,
    show_percent,
    show_seconds,
)
from app.ui.stages import StageRow, stage_rows
from app.ui.waterfall import Waterfall, waterfall
from app.ui.words import (
    BADGES,
    Badge,
    Fact,
    cache_word,
    explain_altered,
    explain_degraded,
    explain_status,
    explain_stop,
    explain_tie,
    explain_weights,
    status_of,
    why_no_vote,
)
from app.voting.tally import is_proven
from verifiers.base import Status

SIDE_BY_SIDE = 4
"""More candidates than this become a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictBar:
    """What a reader wants to know first."""

    state: Badge
    sentence: str
    """Why the answer was believed or not."""
    answer: Shown | None
    """The winner's extracted answer, or its text where nothing is extracted; None without one."""
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TallyRow:
    """One canonical answer."""

    answer: str
    drawn: int
    """Samples that gave this answer, counted or not."""
    votes: int
    """Samples of those that counted."""
    proven: int
    """Samples of those that a decisive verifier passed."""
    drawn_width: float
    """Length of the pale bar in percent; the answer drawn most has 100."""
    votes_width: float
    """Length of the full bar on top of it."""
    won: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TallyView:
    rows: tuple[TallyRow, ...]
    """Most votes first; answers that were drawn and not counted come last."""
    silent: tuple[tuple[int, str], ...]
    """Number of each candidate that did not vote, with the reason."""
    stop: str
    """Why no more samples were drawn."""
    tie: str
    """How a tie was settled; empty without one."""
    weights: str
    """What the votes weigh and why; empty where all weigh the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningRow:
    number: int
    reward: str
    trainable: bool
    why: str
    """Why it may not be trained on; empty when it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningView:
    """What a night could learn from this group."""

    rows: tuple[LearningRow, ...]
    mean: str
    sd: str
    """Population standard deviation over the rewards that exist."""
    policy: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheView:
    sentence: str
    key: str
    """The exact key; empty without a hit."""
    source: str
    """Trace that first gave the answer; empty without a hit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawView:
    request: Shown
    """The request as JSON."""
    gateway: Shown
    """What the gateway knew about it besides, as JSON."""
    content: str
    """What of the texts is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceDetail:
    """Context of `trace.html`."""

    title: str
    """Title of the browser tab."""
    session: bool
    """True when somebody is logged in by cookie, so that logging out makes sense."""
    trace_id: str
    """Id of the completion and of its trace."""
    at: str
    """When the request came in, UTC."""
    prompt: Shown
    """Text of the last user message."""
    earlier: int
    """Messages besides that one; they are in the raw request."""
    verdict: VerdictBar
    """1: what a reader wants to know first."""
    json_href: str
    """The same trace for programs."""
    curl: str
    """A command that repeats the request; empty where there can be none."""
    labels: LabelPanel
    """What people said about the answer, and where to say more."""
    route: RouteView
    """2: why this route, and the plan that followed."""
    stages: tuple[StageRow, ...]
    """The models that were asked, one after the other; empty where it was one."""
    tally: TallyView
    """3: votes for each answer, who did not vote, and why drawing stopped."""
    candidates: tuple[CandidateView, ...]
    """4: every sample in drawing order, with its verdicts."""
    verifiers: tuple[VerifierHead, ...]
    """Columns of the matrix."""
    side_by_side: bool
    """True for columns, False for a table."""
    waterfall: Waterfall
    """5: where the time went."""
    learning: LearningView
    """6: rewards, and whether a night may learn from them."""
    cache: CacheView
    """7: where a cached answer came from."""
    raw: RawView
    """8: the request, and how much of its texts is kept."""
    degraded: tuple[str, ...]
    """What was away or lost, in sentences."""
    error: tuple[Fact, ...]
    """Code, status and place of the failure; empty when there was none."""


def trace_detail(
    group: Group, labels: Sequence[Label], *, base_url: str, token: str, session: bool
) -> TraceDetail:
    """The page's context. `base_url`: address of the gateway as the reader sees it."""
    task = group.task
    at = datetime.fromtimestamp(task.received_at, UTC)
    prompt = task.prompt()
    return TraceDetail(
        title=show_line(prompt, 60) or group.trace_id,
        session=session,
        trace_id=group.trace_id,
        at=f"{at:%d %B %Y, %H:%M:%S} UTC",
        prompt=show(prompt),
        earlier=max(0, len(task.messages) - 1),
        verdict=_verdict_bar(group),
        json_href=f"/v1/traces/{group.trace_id}",
        curl=repeat_command(task, base_url, with_key=session),
        labels=label_panel(group.trace_id, labels, token=token),
        route=route_view(group),
        stages=stage_rows(group),
        tally=_tally(group),
        candidates=candidate_views(group),
        verifiers=verifier_heads(group),
        side_by_side=len(group.scored) <= SIDE_BY_SIDE,
        waterfall=waterfall(group),
        learning=_learning(group),
        cache=_cache(group),
        raw=_raw(group),
        degraded=tuple(explain_degraded(word) for word in group.degraded),
        error=_error(group),
    )


def _verdict_bar(group: Group) -> VerdictBar:
    winner, usage = group.winner, group.usage()
    answers = len({s.answer.key for s in group.scored if s.answer.key is not None})
    said = f"{_count(len(group.scored), 'candidate')}, {_count(answers, 'answer')}"
    judged = [scored for scored in group.scored if scored.verdicts]
    passed = [s for s in judged if all(v.status is Status.PASS for v in s.verdicts)]
    facts = [
        Fact(name="Votes", value=_votes_for(winner, group), help=said),
        Fact(name="Passed", value=f"{len(passed)} of {len(judged)}", help="candidates, all checks")
        if judged
        else Fact(name="Passed", value="–", help="nothing was checked"),
        Fact(name="Route", value=group.plan.route),
        Fact(name="Time", value=show_ms(group.finished_ms)),
        Fact(
            name="Tokens",
            value=f"{usage.prompt_tokens + usage.completion_tokens:,}",
            help=f"{usage.prompt_tokens:,} read, {usage.completion_tokens:,} drawn",
        ),
        Fact(name="Cache", value=_cache_word(group)),
    ]
    decision = group.decision
    if decision is not None and decision.confidence is not None:
        asked = decision.threshold
        facts.append(
            Fact(
                name="Confidence",
                value=show_percent(decision.confidence),
                help=f"the route asks for {show_percent(asked)}" if asked is not None else "",
            )
        )
    return VerdictBar(
        state=BADGES[status_of(group)],
        sentence=explain_status(group),
        answer=_answer(winner),
        facts=tuple(facts),
    )


def _answer(winner: Scored | None) -> Shown | None:
    if winner is None:
        return None
    return show(said_by(winner) or winner.sample.text, 600)


def _votes_for(winner: Scored | None, group: Group) -> str:
    votes = dict(group.tally.votes)
    if not votes:
        return "none"
    mine = votes.get(winner.answer.key or "", 0) if winner else 0
    return f"{mine} of {sum(votes.values())}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _cache_word(group: Group) -> str:
    if group.cache.hit:
        return cache_word(group)
    return "missed" if _asks_cache(group) else "not asked"


def _asks_cache(group: Group) -> bool:
    return group.task.options.cache in ("on", "read_only")


def _tally(group: Group) -> TallyView:
    """Of the stage that is served; samples of another one have no say in it."""
    drawn_here = in_drawing_order(group.current)
    proven = [scored for scored in drawn_here if is_proven(scored)]
    votes = dict(group.tally.votes)
    drawn = Counter(scored.answer.key for scored in drawn_here if scored.answer.key is not None)
    drawn |= Counter(votes)  # a cached answer keeps all votes and only the samples it returned
    ranked = sorted(votes | drawn, key=lambda answer: (-votes.get(answer, 0), -drawn[answer]))
    most = max([*votes.values(), *drawn.values()], default=1)
    key = group.winner.answer.key if group.winner else None
    silent = (
        (scored.sample.index + 1, why_no_vote(scored, proven=bool(proven))) for scored in drawn_here
    )
    return TallyView(
        rows=tuple(
            TallyRow(
                answer=show_line(answer, 200),
                drawn=drawn[answer],
                votes=votes.get(answer, 0),
                proven=sum(scored.answer.key == answer for scored in proven),
                drawn_width=round(100 * drawn[answer] / most, 2),
                votes_width=round(100 * votes.get(answer, 0) / most, 2),
                won=answer == key,
            )
            for answer in ranked
        ),
        silent=tuple((number, why) for number, why in silent if why),
        stop=explain_stop(group),
        tie=explain_tie(group),
        weights=explain_weights(group),
    )


def _learning(group: Group) -> LearningView:
    rewards = [scored.reward for scored in group.scored if scored.reward is not None]
    trainable = [scored for scored in group.scored if scored.sample.trainable]
    if group.cache.hit:
        sentence = "Nothing was drawn for this request, so there is nothing new to learn."
    elif not rewards:
        sentence = "Nothing was graded, so there is nothing to learn from."
    elif len(set(rewards)) == 1:
        sentence = "Every graded candidate earned the same, so comparing them teaches nothing."
    elif not trainable:
        sentence = "The candidates differ in reward, but none may be trained on."
    else:
        sentence = "The candidates differ in reward, so a night can learn from this group."
    return LearningView(
        rows=tuple(
            LearningRow(
                number=scored.sample.index + 1,
                reward=show_number(scored.reward),
                trainable=scored.sample.trainable,
                why=show_line(scored.sample.not_trainable.replace("_", " ")),
            )
            for scored in in_drawing_order(group.scored)
        ),
        mean=show_number(statistics.fmean(rewards) if rewards else None),
        sd=show_number(statistics.pstdev(rewards) if rewards else None),
        policy=show_line(group.plan.policy, 120) or "–",
        sentence=sentence,
    )


_FROM_CACHE = {
    "hit": "The answer was verified{age}.",
    "negative": "No answer could be verified{age}, with as many samples as this request may draw.",
    "reverified": "The answer was first verified{age}; today's model or verifiers are others, and "
    "the verifiers passed it anew.",
    "near": "The answer was verified{age} for another wording; the verifiers passed it on this "
    "one.",
}


def _cache(group: Group) -> CacheView:
    record = group.cache
    if record.hit and record.coalesced:
        sentence = "An equal request was already running; its answer was shared with this one."
    elif record.hit:
        age = f" {show_seconds(record.age_s)} earlier" if record.age_s is not None else ""
        sentence = f"Served from the cache. {_FROM_CACHE[cache_word(group)].format(age=age)}"
    elif _asks_cache(group):
        sentence = "The cache held no verified answer for exactly this request."
    else:
        sentence = "The cache was not asked for this request."
    return CacheView(sentence=sentence, key=record.key or "", source=record.source_trace_id or "")


_CONTENT = {
    "full": "Texts are kept in full.",
    "redacted": "Texts are kept with personal data redacted.",
    "hash": "Only hashes of the texts are kept.",
    "off": "No texts are kept for this request.",
}


def _raw(group: Group) -> RawView:
    task = group.task
    return RawView(
        request=show_json(request_body(task)),
        gateway=show_json(
            {
                "trace_id": task.trace_id,
                "request_id": task.request_id,
                "tenant": task.tenant,
                "engine": task.engine,
                "received_at": task.received_at,
                "ignored_parameters": task.ignored,
                "gateway_version": group.gateway_version,
                "extractor_version": group.extractor_version,
            }
        ),
        content=" ".join([_CONTENT[level_of(task)], *(explain_altered(w) for w in group.altered)]),
    )


def _error(group: Group) -> tuple[Fact, ...]:
    if group.error is None:
        return ()
    return (
        Fact(name="Code", value=show_line(group.error.code, 80)),
        Fact(name="HTTP status", value=str(group.error.status)),
        Fact(name="Where", value=show_line(group.error.where, 80)),
        Fact(name="Message", value=show_line(group.error.message, 1_000)),
    )
