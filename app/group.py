"""The one record: a group, and the values it is made of.

Everything the product shows, stores, caches or trains on is a pure view of a `Group`. Records are
frozen; a group grows by `with_…` methods that return a new one, so nothing can change what was
logged. `Group.from_json(group.to_json()) == group` holds for every group.
Times inside a group are milliseconds since `Task.received_at`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter

from verifiers.base import Answer, AnswerContract, Role, Status, ToolCall, Verdict, VerifierSpec

GROUP_VERSION = 1

Mode = Literal["auto", "off", "always"]
Effort = Literal["low", "medium", "high"]
OnUnverified = Literal["return", "error", "hold"]
CacheMode = Literal["on", "off", "read_only", "write_only"]
ContentLevel = Literal["off", "hash", "redacted", "full"]
Route = Literal["off", "easy", "hard"]
RuleName = Literal["margin", "two_kinds", "adaptive", "esc", "fixed", "certified", "exact"]
Reuse = Literal["exact", "near"]
"""Whether a verified answer may serve equal requests only, or also be checked for near ones."""
SampleKind = Literal["text", "program"]
"""What was asked of the model: an answer in words, or a program that computes it."""
OF_A_STAGE = ("samples", "deadline", "engine")
"""Words of `degraded` about one stage, which are forgotten with it."""
ScorerName = Literal["length", "logprob", "verifiers"]
"""What may weigh a vote: its completion tokens, its mean logprob, its verifiers' mean score."""
DecisionStatus = Literal["verified", "agreed", "unverified", "held"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Sampling parameters as the client sent them; None means not sent."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    """`max_completion_tokens`, else `max_tokens`: a cap per sample."""
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: bool = False
    top_logprobs: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: Mapping[str, float] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Allow-listed extensions (`top_k`, `min_p`, `chat_template_kwargs`, …), passed on as sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Gateway options after precedence: body > header > model suffix > key default > config."""

    mode: Mode = "auto"
    n: int | None = None
    """Upper bound on samples; None means the cap of `effort`."""
    effort: Effort = "medium"
    deadline_ms: int = 60_000
    verifiers: tuple[VerifierSpec, ...] = ()
    on_unverified: OnUnverified = "return"
    cache: CacheMode = "on"
    include: tuple[str, ...] = ()
    """Extra parts of the reply; known: `trace`."""
    rule: RuleName = "margin"
    """Stop rule of the vote."""
    asked: tuple[str, ...] = ()
    """Names of the options that the request set itself; a route sets only others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What was asked, parsed once at the edge."""

    trace_id: str
    """`chatcmpl-<ulid>`: the id of the completion and of its trace."""
    request_id: str
    received_at: float
    """Unix time in seconds."""
    tenant: str
    """Whose cache, traces and limits apply; `local` when keys are off."""
    model: str
    """As the client wrote it, suffix included; echoed in the reply."""
    alias: str
    """The alias without suffix."""
    engine: str
    """Name of the engine that the alias points at."""
    upstream_model: str = ""
    """The upstream's own model id, when the client named one; empty takes the engine's model."""
    messages: tuple[Mapping[str, Any], ...]
    parameters: Parameters = field(default_factory=Parameters)
    options: Options = field(default_factory=Options)
    choices: int = 1
    """`n` of the request: how many choices to return."""
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    old_functions: bool = False
    """The tools came as the deprecated `functions`; the reply carries `function_call`."""
    response_format: Mapping[str, Any] | None = None
    stream: bool = False
    include_usage: bool = False
    service_tier: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    store: bool | None = None
    content: ContentLevel = "full"
    """How much text may be kept; `store: false` makes it `off`."""
    user_hash: str | None = None
    cache_namespace: str | None = None
    """Hash of `prompt_cache_key`."""
    ignored: tuple[str, ...] = ()
    """Parameters that were accepted and had no effect."""

    def prompt(self) -> str:
        """Text of the last user message; parts are joined by newlines."""
        for message in reversed(self.messages):
            if message.get("role") == "user":
                return text_of(message.get("content"))
        return ""

    def system(self) -> str:
        """Text of all system and developer messages."""
        roles = ("system", "developer")
        return "\n".join(text_of(m.get("content")) for m in self.messages if m.get("role") in roles)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One feature of the routing decision and what it added to the score."""

    feature: str
    value: float | str | bool
    contribution: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierRef:
    """A verifier of this task, as the reply, the cache key and the trace name it."""

    name: str
    version: str
    config_hash: str
    role: Role
    decisive: bool
    source: Literal["auto", "request", "route"]
    hidden: bool = False
    """True when the client may not learn which verifier this is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteWeights:
    """A scorer that is calibrated for the route, and so may say what a vote is worth."""

    scorer: ScorerName
    slope: float
    """Votes that a sample is worth more for each unit by which its value is above the mean of the
    samples that vote with it."""
    auc: float
    """How often it put a right sample of a question above a wrong one, 0..1."""
    questions: int
    """Labelled questions on which samples disagreed: what it was calibrated on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the task will be answered."""

    route: Route
    difficulty: float
    """0..1; at or above `threshold` the task is hard."""
    threshold: float
    reasons: tuple[Reason, ...]
    rule: RuleName
    """Name of the stop rule."""
    first_round: int
    cap: int
    """Samples at most, all rounds together."""
    margin: int
    engine: str
    policy: str
    """Version of the model that answers: a policy name, or the engine's model."""
    contract: AnswerContract
    verifiers: tuple[VerifierRef, ...]
    temperature: float | None
    """The value sent to the engine; None leaves it to the engine."""
    top_p: float | None
    max_tokens: int | None
    seed: int
    deadline_ms: int
    live: bool = False
    """True when deltas may be forwarded before the decision: one sample and nothing to check."""
    route_name: str = "default"
    """The configured route that matched; calibration and difficulty are learned for each."""
    max_error: float | None = None
    """Largest share of served answers that may be wrong; None serves whatever was decided."""
    fallback: str = ""
    """Alias that is asked when this stage does not reach its threshold; empty: none."""
    reuse: Reuse = "exact"
    """`near`: a verified answer to another wording may be checked anew for this request."""
    explored: bool = False
    """Drawn deep at random, so that the router can learn what it would have missed."""
    weights: VoteWeights | None = None
    """What votes weigh; None: every vote the same. Only for rules that ask for a lead in votes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """The next round: how many samples to ask for, all at once."""

    round: int
    """From 1."""
    n: int
    first_index: int
    """Index of the round's first sample in the group."""
    seed: int
    """H(plan seed, round); one upstream call carries one seed."""
    programs: int = 0
    """How many of the `n` are asked for as programs; they are the last of the round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """A piece of a sample while it is being generated (live path only)."""

    content: str = ""
    reasoning: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    """Wire form of `delta.tool_calls`."""
    logprobs: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One completion drawn from an engine."""

    index: int
    """Position in the group, from 0, in drawing order."""
    kind: SampleKind = "text"
    """A program's `text` is what it printed; the program itself is `raw_text`."""
    stage: int = 0
    """0 for the plan that was made first, 1 for the fallback's samples."""
    round: int
    call: int
    """Index of the upstream call it came from."""
    choice: int
    """Index inside that call."""
    text: str
    """What is verified, voted on and served."""
    raw_text: str | None = None
    """What the model wrote, where `text` differs from it; `altered` says how."""
    reasoning: str = ""
    refusal: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    """None: it never ended (cancelled or cut), so it is neither verified nor counted as a vote."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Exact from token ids or usage; for a cancelled sample the number received."""
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    """Natural log of the sampling probability of each token (µ), aligned with `token_ids`."""
    logprobs_wire: Mapping[str, Any] | None = None
    """`choices[].logprobs` as the engine sent it; kept when the client asked for logprobs."""
    seed: int | None = None
    """Seed of the upstream call."""
    model: str = ""
    """Model name that the upstream reported."""
    started_ms: float = 0.0
    first_token_ms: float | None = None
    finished_ms: float = 0.0
    cancelled: bool = False
    trainable: bool = False
    not_trainable: str = ""
    """Why it may not be trained on, when it may not."""
    altered: tuple[str, ...] = ()
    """Changes between what the model wrote and `text`: `code_fence_removed`, `bad_unicode`,
    `program_run`, `program_not_run`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What an engine knows of the model behind a call; None where the server does not tell."""

    server_version: str | None = None
    base_model_digest: str | None = None
    """Of the weights without any adapter."""
    tokenizer_digest: str | None = None
    chat_template_digest: str | None = None
    weight_version: str | None = None
    """The server's own name for the weights that drew the samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One upstream request."""

    index: int
    round: int
    engine: str
    n: int
    """Choices asked for."""
    seed: int | None
    started_ms: float
    finished_ms: float
    attempts: int = 1
    prompt_tokens: int = 0
    """Paid once a call, however many choices it returned."""
    prompt_token_ids: tuple[int, ...] | None = None
    upstream_id: str = ""
    origin: Origin | None = None
    """None where the engine knows nothing of it."""
    error: str = ""
    """Code of the error that ended it; empty when it ended well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A sample with what was found out about it."""

    sample: Sample
    answer: Answer
    verdicts: tuple[Verdict, ...] = ()
    reward: float | None = None
    """0..1, or None when it could not be checked. None is never 0."""


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

    def without_hidden(self) -> Group:
        """The group as a client may see it: hidden verifiers have left no name and no verdict."""
        hidden = {ref.name for ref in self.plan.verifiers if ref.hidden}
        if not hidden:
            return self
        open_refs = tuple(ref for ref in self.plan.verifiers if not ref.hidden)

        def opened(plan: Plan) -> Plan:  # every stage has the same verifiers
            return dataclasses.replace(plan, verifiers=open_refs)

        names = hidden - {ref.name for ref in open_refs}
        scored = tuple(
            dataclasses.replace(each, verdicts=tuple(v for v in each.verdicts if not v.hidden))
            for each in self.scored
        )
        options = dataclasses.replace(
            self.task.options,
            verifiers=tuple(
                spec for spec in self.task.options.verifiers if not spec.options.get("hidden")
            ),
        )
        return dataclasses.replace(
            self,
            task=dataclasses.replace(self.task, options=options),
            plan=opened(self.plan),
            earlier=tuple(dataclasses.replace(s, plan=opened(s.plan)) for s in self.earlier),
            unused=self.unused and dataclasses.replace(self.unused, plan=opened(self.unused.plan)),
            scored=scored,
            spans=tuple(s for s in self.spans if s.name.removeprefix("verify:") not in names),
        )

    def to_json(self) -> bytes:
        return _adapter().dump_json(self)

    @classmethod
    def from_json(cls, data: bytes | str) -> Group:
        """Raises pydantic's ValidationError when the data is not a group."""
        return _adapter().validate_json(data)


@cache
def _adapter() -> TypeAdapter[Group]:
    return TypeAdapter(Group)


def text_of(content: Any) -> str:
    """Text of a message's content: the string itself, or its text parts joined by newlines."""
    if isinstance(content, str):
        return content
    if isinstance(content, list | tuple):
        return "\n".join(
            part.get("text", "") for part in content if isinstance(part, Mapping) and "text" in part
        )
    return ""


def passed(verdict: Verdict) -> bool:
    return verdict.status is Status.PASS
