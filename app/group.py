"""The one record: a group, and the values it is made of.

Everything the product shows, stores, caches or trains on is a pure view of a `Group`. Records are
frozen; a group grows by `with_…` methods that return a new one, so nothing can change what was
logged. `Group.from_json(group.to_json()) == group` holds for every group.
Times inside a group are milliseconds since `Task.received_at`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter

from app.plan import Plan
from app.sample import Call, Sample, Scored
from app.task import Task

GROUP_VERSION = 1
DecisionStatus = Literal["verified", "agreed", "unverified", "held"]
OF_A_STAGE = ("samples", "deadline", "engine")
"""Words of `degraded` about one stage, which are forgotten with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Votes per answer key, highest first."""

    votes: tuple[tuple[str, int], ...] = ()
    leader: str | None = None
    runner_up: str | None = None
    margin: int = 0
    """Votes of the leader minus votes of the runner-up."""
    weights: tuple[tuple[str, float], ...] = ()
    """What the votes of each key weigh, heaviest first, which is then the order of `votes` too;
    empty where every vote weighs the same."""

    @property
    def lead(self) -> float:
        """How far the leader is ahead, in votes as they weigh."""
        if not self.weights:
            return self.margin
        second = self.weights[1][1] if len(self.weights) > 1 else 0.0
        return self.weights[0][1] - second


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided and why."""

    status: DecisionStatus
    winner: int | None
    """Index of the sample that is served; None when none can be."""
    returned: tuple[int, ...] = ()
    """Indexes of the choices to return, best first; `winner` comes first."""
    stop_reason: str = ""
    confidence: float | None = None
    """Calibrated P(correct); None where the route has no calibration."""
    abstained: bool = False
    """True when the confidence is below what the route's `max_error` asks for."""
    threshold: float | None = None
    """The confidence that it asks for; None where nothing is asked, or nothing would be enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A finished attempt of a cascade that did not reach its threshold."""

    plan: Plan
    tally: Tally
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One bar of the waterfall."""

    name: str
    """`admit`, `plan`, `cache`, `sample`, `verify:<name>`, `decide`, `run_program`,
    `fallback`."""
    start_ms: float
    end_ms: float
    sample: int | None = None
    wait_ms: float = 0.0
    """Part of it that was spent queueing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRecord:
    """Where a cached reply came from."""

    hit: bool = False
    key: str | None = None
    source_trace_id: str | None = None
    age_s: float | None = None
    coalesced: bool = False
    """True when the request waited for an equal one in flight."""
    negative: bool = False
    """True when the entry says that no answer could be verified with this budget."""
    reverified: bool = False
    """True when an answer of an older policy or verifier was checked anew for this request."""
    near: bool = False
    """True when it answered another wording, and its verifiers passed on this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why no answer could be given; kept as data."""

    code: str
    message: str
    status: int
    where: str
    """`engine`, `client`, `deadline`, …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of the whole group."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Task, plan, samples, verdicts, tally and decision of one request."""

    # A log probability may be -inf; as JSON null the group could not be read back.
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(ser_json_inf_nan="strings")

    task: Task
    plan: Plan
    scored: tuple[Scored, ...] = ()
    calls: tuple[Call, ...] = ()
    tally: Tally = field(default_factory=Tally)
    decision: Decision | None = None
    """None while it is open, and when nothing could be drawn (`error` says why)."""
    spans: tuple[Span, ...] = ()
    cache: CacheRecord = field(default_factory=CacheRecord)
    degraded: tuple[str, ...] = ()
    error: Failure | None = None
    earlier: tuple[Stage, ...] = ()
    """Stages that were given up for the fallback; `plan`, `tally` and `decision` are the last's."""
    unused: Stage | None = None
    """The fallback's stage where it gave nothing better than the one before, which is served."""
    finished_ms: float = 0.0
    gateway_version: str = ""
    extractor_version: str = ""
    altered: tuple[str, ...] = ()
    """What the store changed to be able to keep it: `nul` (U+0000 is shown as U+2400),
    `bad_unicode` (a lone surrogate is shown as U+FFFD), `content_dropped` (the spool was full)."""
    original_sha256: str | None = None
    """Hex sha256 of the group's JSON before `nul`; None without that change."""
    version: int = GROUP_VERSION

    @classmethod
    def open(cls, task: Task, plan: Plan) -> Group:
        return cls(task=task, plan=plan)

    @property
    def trace_id(self) -> str:
        return self.task.trace_id

    @property
    def stage(self) -> int:
        """Which stage is running, from 0."""
        return len(self.earlier)

    @property
    def current(self) -> tuple[Scored, ...]:
        """The samples of this stage: the only ones that vote in it and count for its cap."""
        if not self.earlier and not (self.scored and self.scored[-1].sample.stage):
            return self.scored
        return tuple(s for s in self.scored if s.sample.stage == self.stage)

    def plan_of(self, sample: Sample) -> Plan:
        """The plan by which a sample was drawn."""
        plans = [*(stage.plan for stage in self.earlier), self.plan]
        if sample.stage < len(plans) or self.unused is None:
            return plans[min(sample.stage, self.stage)]
        return self.unused.plan

    @property
    def rounds(self) -> int:
        return max((s.sample.round for s in self.scored), default=0)

    @property
    def winner(self) -> Scored | None:
        """The sample that is served, with its verdicts."""
        if self.decision is None or self.decision.winner is None:
            return None
        return self.at(self.decision.winner)

    def at(self, index: int) -> Scored:
        """The scored sample with this index. Raises KeyError."""
        for scored in self.scored:
            if scored.sample.index == index:
                return scored
        raise KeyError(index)

    def answers(self) -> tuple[tuple[str, int], ...]:
        """Every answer that was said and how often, most frequent first, refuted ones too."""
        counts = Counter(s.answer.key for s in self.scored if s.answer.key is not None)
        return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def usage(self) -> Usage:
        """All tokens paid for: prompts once a call, completions of every sample, losers too.

        A cache hit was drawn by nobody, so it has no calls and counts its winner's tokens.
        """
        prompt = sum(call.prompt_tokens for call in self.calls)
        if not self.calls:
            prompt = max((s.sample.prompt_tokens for s in self.scored), default=0)
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=sum(s.sample.completion_tokens for s in self.scored),
        )

    def with_scored(self, *scored: Scored) -> Group:
        return dataclasses.replace(self, scored=self.scored + scored)

    def with_calls(self, *calls: Call) -> Group:
        return dataclasses.replace(self, calls=self.calls + calls)

    def with_tally(self, tally: Tally) -> Group:
        return dataclasses.replace(self, tally=tally)

    def with_decision(self, decision: Decision) -> Group:
        return dataclasses.replace(self, decision=decision)

    def with_spans(self, *spans: Span) -> Group:
        return dataclasses.replace(self, spans=self.spans + spans)

    def next_stage(self, plan: Plan) -> Group:
        """Give up this decided stage and go on with the fallback's plan; nothing is forgotten."""
        assert self.decision is not None
        given_up = Stage(plan=self.plan, tally=self.tally, decision=self.decision)
        return dataclasses.replace(
            self,
            plan=plan,
            tally=Tally(),
            decision=None,
            error=None,
            degraded=tuple(word for word in self.degraded if word not in OF_A_STAGE),
            earlier=(*self.earlier, given_up),
        )

    def previous_stage(self) -> Group:
        """The decided group with the stage before served after all."""
        assert self.decision is not None
        *before, stage = self.earlier
        return dataclasses.replace(
            self,
            plan=stage.plan,
            tally=stage.tally,
            decision=stage.decision,
            earlier=tuple(before),
            unused=Stage(plan=self.plan, tally=self.tally, decision=self.decision),
        )

    def with_degraded(self, *words: str) -> Group:
        new = tuple(word for word in words if word not in self.degraded)
        return dataclasses.replace(self, degraded=self.degraded + new)

    def with_cache_key(self, key: str) -> Group:
        """The group of a request that was looked up and not found."""
        return dataclasses.replace(self, cache=CacheRecord(key=key))

    def with_error(self, failure: Failure) -> Group:
        return dataclasses.replace(self, error=failure)

    def finished(self, at_ms: float) -> Group:
        return dataclasses.replace(self, finished_ms=at_ms)

    def to_json(self) -> bytes:
        return _adapter().dump_json(self)

    @classmethod
    def from_json(cls, data: bytes | str) -> Group:
        """Raises pydantic's ValidationError when the data is not a group."""
        return _adapter().validate_json(data)


@cache
def _adapter() -> TypeAdapter[Group]:
    return TypeAdapter(Group)
