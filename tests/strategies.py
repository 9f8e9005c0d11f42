"""Hypothesis strategies for every record of a group, odd values included.

Texts hold any character but lone surrogates (NUL too), integers pass 64 bits, anything optional is
sometimes None and anything plural sometimes empty.
"""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import strategies as st

from app.group import CacheRecord, Decision, DecisionStatus, Failure, Group, Span, Stage, Tally
from app.plan import Plan, Reason, Reuse, Route, ScorerName, VerifierRef, VoteWeights
from app.sample import Call, Origin, Sample, SampleKind, Scored
from app.task import (
    CacheMode,
    ContentLevel,
    Effort,
    Mode,
    OnUnverified,
    Options,
    Parameters,
    RuleName,
    Task,
)
from verifiers.base import (
    Answer,
    AnswerContract,
    AnswerKind,
    Role,
    Status,
    ToolCall,
    Verdict,
    VerifierSpec,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
maybe_texts = st.none() | texts
big_integers = st.integers(-(2**80), 2**80)
counts = st.integers(0, 100_000)
finite = st.floats(allow_nan=False, allow_infinity=False)
scores = st.none() | st.floats(0, 1)
milliseconds = st.floats(0, 1e7)
json_values = st.recursive(
    st.none() | st.booleans() | big_integers | finite | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(texts, json_values, max_size=3)
token_ids = st.integers(0, 2**31 - 1)
logprobs = st.floats(max_value=0, allow_nan=False, width=32)


def one_of(literal: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(get_args(literal))


def tuples_of(
    inner: st.SearchStrategy[Any], max_size: int = 3
) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(inner, max_size=max_size).map(tuple)


def trace_ids() -> st.SearchStrategy[str]:
    ulid = st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=26, max_size=26)
    return ulid.map("chatcmpl-".__add__)


tool_calls = st.builds(ToolCall, id=texts, name=texts, arguments=texts)
verifier_specs = st.builds(
    VerifierSpec,
    use=texts,
    options=json_objects,
    source=st.sampled_from(["auto", "request", "route"]),
    param=texts,
)
parameters = st.builds(
    Parameters,
    temperature=st.none() | st.floats(0, 2),
    top_p=scores,
    max_tokens=st.none() | counts,
    stop=tuples_of(texts),
    seed=st.none() | big_integers,
    logprobs=st.booleans(),
    logit_bias=st.none() | st.dictionaries(texts, st.floats(-100, 100), max_size=2),
    reasoning_effort=maybe_texts,
    extra=json_objects,
)
options = st.builds(
    Options,
    mode=one_of(Mode),
    n=st.none() | counts,
    effort=one_of(Effort),
    verifiers=tuples_of(verifier_specs, 2),
    on_unverified=one_of(OnUnverified),
    cache=one_of(CacheMode),
    include=tuples_of(texts),
)
messages = st.builds(
    lambda role, content, more: {**more, "role": role, "content": content},
    st.sampled_from(["system", "user", "assistant", "tool"]),
    maybe_texts | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": texts})),
    json_objects,
)
tasks = st.builds(
    Task,
    trace_id=trace_ids(),
    request_id=texts,
    received_at=st.floats(0, 4e9),
    tenant=texts,
    model=texts,
    alias=texts,
    engine=texts,
    messages=tuples_of(messages),
    parameters=parameters,
    options=options,
    choices=counts,
    tools=tuples_of(json_objects, 2),
    tool_choice=json_values,
    parallel_tool_calls=st.none() | st.booleans(),
    response_format=st.none() | json_objects,
    stream=st.booleans(),
    service_tier=maybe_texts,
    metadata=st.dictionaries(texts, texts, max_size=2),
    store=st.none() | st.booleans(),
    content=one_of(ContentLevel),
    user_hash=maybe_texts,
    cache_namespace=maybe_texts,
    ignored=tuples_of(texts),
)
contracts = st.builds(AnswerContract, kind=one_of(AnswerKind), rule=texts, choices=tuples_of(texts))
plans = st.builds(
    Plan,
    route=one_of(Route),
    difficulty=st.floats(0, 1),
    threshold=st.floats(0, 1),
    reasons=tuples_of(
        st.builds(Reason, feature=texts, value=finite | texts | st.booleans(), contribution=finite)
    ),
    rule=one_of(RuleName),
    first_round=counts,
    cap=counts,
    margin=counts,
    engine=texts,
    policy=texts,
    contract=contracts,
    verifiers=tuples_of(
        st.builds(
            VerifierRef,
            name=texts,
            version=texts,
            config_hash=texts,
            role=one_of(Role),
            decisive=st.booleans(),
            source=st.sampled_from(["auto", "request", "route"]),
        )
    ),
    temperature=st.none() | st.floats(0, 2),
    top_p=scores,
    max_tokens=st.none() | counts,
    seed=big_integers,
    deadline_ms=counts,
    live=st.booleans(),
    route_name=texts,
    max_error=scores,
    fallback=texts,
    reuse=one_of(Reuse),
    weights=st.none()
    | st.builds(
        VoteWeights,
        scorer=one_of(ScorerName),
        slope=finite,
        auc=st.floats(0, 1),
        questions=counts,
    ),
    explored=st.booleans(),
)
samples = st.builds(
    Sample,
    index=counts,
    kind=one_of(SampleKind),
    stage=st.integers(0, 1),
    round=counts,
    call=st.integers(0, 3),
    choice=counts,
    text=texts,
    raw_text=maybe_texts,
    reasoning=texts,
    refusal=maybe_texts,
    tool_calls=tuples_of(tool_calls, 2),
    finish_reason=maybe_texts,
    prompt_tokens=counts,
    completion_tokens=counts,
    token_ids=st.none() | tuples_of(token_ids),
    logprobs=st.none() | tuples_of(logprobs),
    logprobs_wire=st.none() | json_objects,
    seed=st.none() | big_integers,
    model=texts,
    started_ms=milliseconds,
    first_token_ms=st.none() | milliseconds,
    finished_ms=milliseconds,
    cancelled=st.booleans(),
    trainable=st.booleans(),
    not_trainable=texts,
    altered=tuples_of(texts),
)
answers = st.builds(
    Answer, kind=one_of(AnswerKind), rule=maybe_texts, text=texts, key=maybe_texts, reason=texts
)
verdicts = st.builds(
    Verdict,
    verifier=texts,
    version=texts,
    config_hash=texts,
    role=one_of(Role),
    decisive=st.booleans(),
    status=st.sampled_from(Status),
    score=scores,
    reason=texts,
    evidence=json_objects,
    steps=st.none() | tuples_of(st.floats(0, 1)),
    wait_ms=milliseconds,
    run_ms=milliseconds,
)
scored = st.builds(
    Scored, sample=samples, answer=answers, verdicts=tuples_of(verdicts, 2), reward=scores
)
origins = st.builds(
    Origin,
    server_version=maybe_texts,
    base_model_digest=maybe_texts,
    tokenizer_digest=maybe_texts,
    chat_template_digest=maybe_texts,
    weight_version=maybe_texts,
)
calls = st.builds(
    Call,
    origin=st.none() | origins,
    index=st.integers(0, 3),
    round=counts,
    engine=texts,
    n=counts,
    seed=st.none() | big_integers,
    started_ms=milliseconds,
    finished_ms=milliseconds,
    attempts=counts,
    prompt_tokens=counts,
    prompt_token_ids=st.none() | tuples_of(token_ids),
    upstream_id=texts,
    error=texts,
)
tallies = st.builds(
    Tally,
    votes=tuples_of(st.tuples(texts, counts)),
    leader=maybe_texts,
    runner_up=maybe_texts,
    margin=counts,
    weights=tuples_of(st.tuples(texts, finite)),
)
decisions = st.builds(
    Decision,
    status=one_of(DecisionStatus),
    winner=st.none(),
    returned=tuples_of(counts),
    stop_reason=texts,
    confidence=scores,
    abstained=st.booleans(),
    threshold=scores,
)
stages = st.builds(Stage, plan=plans, tally=tallies, decision=decisions)
spans = st.builds(
    Span,
    name=texts,
    start_ms=milliseconds,
    end_ms=milliseconds,
    sample=st.none() | counts,
    wait_ms=milliseconds,
)
cache_records = st.builds(
    CacheRecord,
    hit=st.booleans(),
    key=maybe_texts,
    source_trace_id=maybe_texts,
    age_s=st.none() | milliseconds,
    coalesced=st.booleans(),
    negative=st.booleans(),
    reverified=st.booleans(),
    near=st.booleans(),
)
failures = st.builds(Failure, code=texts, message=texts, status=counts, where=texts)
groups = st.builds(
    Group,
    task=tasks,
    plan=plans,
    scored=st.lists(scored, max_size=3, unique_by=lambda s: s.sample.index).map(tuple),
    calls=st.lists(calls, max_size=2, unique_by=lambda c: c.index).map(tuple),
    tally=tallies,
    decision=st.none() | decisions,
    spans=tuples_of(spans, 2),
    cache=cache_records,
    degraded=tuples_of(texts, 2),
    error=st.none() | failures,
    earlier=tuples_of(stages, 1),
    unused=st.none() | stages,
    finished_ms=milliseconds,
    gateway_version=texts,
    extractor_version=texts,
)
