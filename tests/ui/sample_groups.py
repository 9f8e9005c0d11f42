"""Groups that show every state of the pages. Plain values: no engine, no clock, no chance."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ulid import ULID

from app.group import CacheRecord, Decision, DecisionStatus, Failure, Group, Span
from app.plan import Plan, Reason, Route, VerifierRef
from app.sample import Call, Sample, Scored
from app.task import Options, Parameters, Task
from app.voting.confidence import Calibration, Evidence, Outcome, calibrate
from app.voting.tally import tally_votes
from verifiers.base import Answer, AnswerContract, AnswerKind, Status, ToolCall, Verdict

NOON = 1_795_521_600.0
"""2026-11-24 12:00:00 UTC."""


def trace_id(number: int) -> str:
    """An id that sorts by `number` and is the same on every run."""
    return f"chatcmpl-{ULID.from_bytes(number.to_bytes(6, 'big') + bytes(10))}"


def make_task(number: int, prompt: str, **changes: Any) -> Task:
    known: dict[str, Any] = {
        "trace_id": trace_id(number),
        "request_id": f"req_{number}",
        "received_at": NOON + number,
        "tenant": "local",
        "model": "auto",
        "alias": "auto",
        "engine": "main",
        "messages": ({"role": "user", "content": prompt},),
    }
    return Task(**(known | changes))


def make_plan(
    *, kind: AnswerKind = "number", verifiers: tuple[VerifierRef, ...] = (), **changes: Any
) -> Plan:
    known: dict[str, Any] = {
        "route": "hard",
        "difficulty": 0.71,
        "threshold": 0.5,
        "reasons": (
            Reason(feature="has_verifier", value=True, contribution=1.4),
            Reason(feature="numbers", value=3.0, contribution=0.6),
            Reason(feature="words", value=9.0, contribution=-0.25),
        ),
        "rule": "margin",
        "first_round": 3,
        "cap": 16,
        "margin": 3,
        "engine": "main",
        "policy": "SmolLM2-135M-Instruct",
        "contract": AnswerContract(kind=kind, rule="auto"),
        "verifiers": verifiers,
        "temperature": 0.7,
        "top_p": 1.0,
        "max_tokens": 256,
        "seed": 20_261_124,
        "deadline_ms": 60_000,
    }
    return Plan(**(known | changes))


CALCULATOR = VerifierRef(
    name="calculator",
    version="1",
    config_hash="a1b2c3d4e5f6",
    role="outcome",
    decisive=True,
    source="auto",
)
SCHEMA = VerifierRef(
    name="json_schema",
    version="1",
    config_hash="0f9e8d7c6b5a",
    role="gate",
    decisive=False,
    source="auto",
)
TOOLS = VerifierRef(
    name="tool_calls",
    version="1",
    config_hash="77aa88bb99cc",
    role="gate",
    decisive=False,
    source="auto",
)


def verdict(ref: VerifierRef, status: Status, **changes: Any) -> Verdict:
    known: dict[str, Any] = {
        "verifier": ref.name,
        "version": ref.version,
        "config_hash": ref.config_hash,
        "role": ref.role,
        "decisive": ref.decisive,
        "status": status,
        "score": {Status.PASS: 1.0, Status.FAIL: 0.0}.get(status),
        "wait_ms": 0.4,
        "run_ms": 0.8,
    }
    return Verdict(**(known | changes))


def make_sample(index: int, text: str, **changes: Any) -> Sample:
    began = 14.0 + 3 * index
    known: dict[str, Any] = {
        "index": index,
        "round": 1,
        "call": 0,
        "choice": index,
        "text": text,
        "finish_reason": "stop",
        "prompt_tokens": 31,
        "completion_tokens": max(1, len(text) // 4),
        "token_ids": (1, 2, 3),
        "logprobs": (-0.1, -0.2, -0.3),
        "seed": 20_261_124,
        "model": "SmolLM2-135M-Instruct",
        "started_ms": began,
        "first_token_ms": began + 60,
        "finished_ms": began + 240 + 45 * index,
        "trainable": True,
    }
    return Sample(**(known | changes))


def number_answer(value: str | None, reason: str = "no_answer") -> Answer:
    if value is None:
        return Answer(kind="number", rule=None, reason=reason)
    return Answer(kind="number", rule="last_number", text=value, key=value)


def close(
    group: Group,
    status: DecisionStatus,
    winner: int | None,
    stop: str,
    *,
    counted: bool = True,
    confidence: float | None = None,
) -> Group:
    """Count the votes, decide, and add the spans that a gateway would have logged."""
    scored = group.scored
    last = max((s.sample.finished_ms for s in scored), default=20.0)
    spans = [
        Span(name="cache", start_ms=1.2, end_ms=1.6),
        Span(name="plan", start_ms=1.6, end_ms=3.0),
    ]
    for one in scored:
        at = one.sample.finished_ms
        for judged in one.verdicts:
            end = at + judged.wait_ms + judged.run_ms
            spans.append(
                Span(
                    name=f"verify:{judged.verifier}",
                    start_ms=at,
                    end_ms=end,
                    sample=one.sample.index,
                    wait_ms=judged.wait_ms,
                )
            )
            at = end
    spans.append(Span(name="decide", start_ms=last + 3, end_ms=last + 3.4))
    return dataclasses.replace(
        group,
        tally=tally_votes(scored) if counted else group.tally,
        decision=Decision(
            status=status,
            winner=winner,
            returned=() if winner is None else (winner,),
            stop_reason=stop,
            confidence=confidence,
        ),
        spans=tuple(spans),
        finished_ms=last + 6,
        gateway_version="0.1.0",
        extractor_version="1",
    )


def split_vote() -> Group:
    """Three answers, and the calculator knows which is right."""
    prompt = "What is 17 × 24 + 3?"
    said = (
        ("17 × 24 = 398, and 398 + 3 = 401. The answer is 401.", "401"),
        ("First 17 × 20 = 340 and 17 × 4 = 68.\nTogether 408, plus 3 is **411**.", "411"),
        ("17 × 24 + 3 = 17 × 27 = 459", "459"),
    )
    scored = tuple(
        Scored(
            sample=make_sample(index, text),
            answer=number_answer(value),
            verdicts=(
                verdict(
                    CALCULATOR,
                    Status.PASS if value == "411" else Status.FAIL,
                    reason="equal" if value == "411" else "not_equal",
                    evidence={"expression": "17*24+3", "expected": "411", "got": value},
                ),
            ),
            reward=1.0 if value == "411" else 0.0,
        )
        for index, (text, value) in enumerate(said)
    )
    group = Group(
        task=make_task(1, prompt),
        plan=make_plan(verifiers=(CALCULATOR,)),
        scored=scored,
        calls=(
            Call(
                index=0,
                round=1,
                engine="main",
                n=3,
                seed=20_261_124,
                started_ms=14,
                finished_ms=380,
                prompt_tokens=31,
            ),
        ),
    )
    return close(group, "verified", 1, "verified")


def unverified() -> Group:
    """A word problem nobody can check, on which five samples never agree."""
    prompt = (
        "A baker fills 12 trays with 8 rolls each, sells 71 rolls before noon and bakes another "
        "2 trays. How many rolls are left?"
    )
    said = (
        ("12 × 8 = 96. 96 − 71 = 25. 25 + 16 = 41. The answer is 41.", "41", "stop"),
        ("96 rolls. 96 − 71 is 25.", "25", "stop"),
        ("There are rolls left.", None, "stop"),
        ("12 × 8 = 96 − 71 = 25 + 16 = 41", "41", "stop"),
        ("Let us think step by step. The baker fills 12 trays and then", None, "length"),
        ("96 − 71 = 25", "25", None),
    )
    scored = tuple(
        Scored(
            sample=make_sample(
                index,
                text,
                finish_reason=finish,
                cancelled=finish is None,
                round=1 if index < 3 else 2,
                started_ms=14.0 if index < 3 else 400.0,
                first_token_ms=90.0 if index < 3 else 470.0,
                finished_ms=(260.0 if index < 3 else 640.0) + 30 * index,
                trainable=finish is not None,
                not_trainable="" if finish else "cancelled",
            ),
            answer=number_answer(value, "truncated" if finish == "length" else "no_answer"),
        )
        for index, (text, value, finish) in enumerate(said)
    )
    group = Group(task=make_task(2, prompt), plan=make_plan(cap=6), scored=scored)
    return close(group, "unverified", 0, "cap").with_degraded("samples")


def cached() -> Group:
    """The answer of `split_vote`, served again without drawing."""
    source = split_vote()
    served = source.at(1)
    return dataclasses.replace(
        source,
        task=make_task(3, source.task.prompt()),
        scored=(served,),
        calls=(),
        spans=(),
        cache=CacheRecord(hit=True, key="9f2c" * 16, source_trace_id=source.trace_id, age_s=754.0),
        finished_ms=1.3,
    )


def failed() -> Group:
    """The model server could not be reached."""
    group = Group(
        task=make_task(4, "Name the capital of France."),
        plan=make_plan(kind="text", route="easy", difficulty=0.18, first_round=1, cap=1),
        calls=(
            Call(
                index=0,
                round=1,
                engine="main",
                n=1,
                seed=7,
                started_ms=3,
                finished_ms=2_010,
                attempts=3,
                error="upstream_unavailable",
            ),
        ),
        spans=(Span(name="plan", start_ms=1, end_ms=2),),
        error=Failure(
            code="upstream_unavailable",
            message="The model server at http://127.0.0.1:8000/v1 cannot be reached.",
            status=502,
            where="engine",
        ),
        finished_ms=2_012,
    )
    return group


def tool_call() -> Group:
    """Two ids that differ in the last digit are two answers (pc-036)."""
    written = (
        '{"id": 9007199254740993}',
        '{"id":9007199254740993}',
        '{"id": 9007199254740992}',
    )
    schema = {
        "type": "object",
        "properties": {"id": {"type": "integer"}},
        "required": ["id"],
        "additionalProperties": False,
    }
    tools: tuple[Mapping[str, Any], ...] = (
        {"type": "function", "function": {"name": "get_order", "parameters": schema}},
    )
    scored = tuple(
        Scored(
            sample=make_sample(
                index,
                "",
                tool_calls=(ToolCall(id=f"call_{index}", name="get_order", arguments=arguments),),
                finish_reason="tool_calls",
                completion_tokens=18,
            ),
            answer=Answer(
                kind="tool_calls",
                rule="tool_calls",
                text=f"get_order({arguments})",
                key=f"get_order(id={arguments[-17:-1]})",
            ),
            verdicts=(verdict(TOOLS, Status.PASS, reason="matches_schema"),),
        )
        for index, arguments in enumerate(written)
    )
    group = Group(
        task=make_task(5, "Show me order 9007199254740993.", tools=tools, tool_choice="auto"),
        plan=make_plan(kind="tool_calls", verifiers=(TOOLS,), cap=3, margin=1),
        scored=scored,
    )
    return close(group, "agreed", 0, "margin")


def sixteen() -> Group:
    """Sixteen candidates in three rounds, three verifiers, every status."""
    statuses = (Status.PASS, Status.FAIL, Status.ABSTAIN, Status.ERROR)
    scored = tuple(
        Scored(
            sample=make_sample(
                index,
                f"Thinking about it {index} times, the result must be {40 + index % 4}.",
                round=1 + index // 6,
                started_ms=14.0 + 700 * (index // 6),
                first_token_ms=80.0 + 700 * (index // 6),
                finished_ms=300.0 + 700 * (index // 6) + 25 * (index % 6),
                altered=("code_fence_removed",) if index == 3 else (),
            ),
            answer=number_answer(str(40 + index % 4)),
            verdicts=(
                verdict(SCHEMA, Status.PASS, reason="valid"),
                verdict(
                    dataclasses.replace(CALCULATOR, name="number", decisive=False, role="process"),
                    statuses[index % 4],
                    score=0.375 if statuses[index % 4] is Status.FAIL else None,
                    reason=("close", "too_far", "not_a_number", "timed_out")[index % 4],
                    run_ms=41.0,
                    wait_ms=12.0,
                ),
            ),
            reward=None if index % 4 == 3 else (index % 4) / 3,
        )
        for index in range(16)
    )
    refs = (SCHEMA, dataclasses.replace(CALCULATOR, name="number", decisive=False, role="process"))
    group = Group(
        task=make_task(6, "How many rolls are left?", options=Options(effort="high")),
        plan=make_plan(verifiers=refs, cap=16),
        scored=scored,
    )
    return close(group, "unverified", 0, "cap", confidence=0.41)


HOSTILE = (
    "<script>alert('owned')</script><img src=x onerror=alert(1)>\n"
    "{{ 7 * 7 }} {% raw %} &amp; \"quotes\" 'and' `ticks`\n"
    "pay \u202e000,1$ to\u202c mallory\u200b\u2066 hidden\u2069 \x00\x1b[31mred\x1b[0m \ufeff\n"
)


def hostile() -> Group:
    """A model and a client that try to break the page."""
    long_word = "W" * 3_000
    text = HOSTILE + long_word + "\n" + "All work and no play. " * 2_300
    scored = (
        Scored(
            sample=make_sample(0, text, model=HOSTILE, reasoning=HOSTILE),
            answer=Answer(kind="text", rule="whole_text", text=text, key=text[:4_000]),
            verdicts=(
                verdict(
                    SCHEMA,
                    Status.FAIL,
                    reason=HOSTILE,
                    evidence={"</script>": HOSTILE, "big": 9007199254740993},
                ),
            ),
        ),
        Scored(
            sample=make_sample(1, "مرحبا بالعالم — שלום עולם — 你好"),
            answer=Answer(kind="text", rule="whole_text", text="مرحبا", key="مرحبا"),
        ),
    )
    group = Group(
        task=make_task(
            7,
            HOSTILE + long_word,
            model=HOSTILE[:120],
            metadata={"<b>team</b>": HOSTILE},
            parameters=Parameters(temperature=0.2, extra={"top_k": 40}),
        ),
        plan=make_plan(kind="text", verifiers=(SCHEMA,), policy=HOSTILE),
        scored=scored,
    )
    return close(group, "unverified", 0, "deadline")


def greeting() -> Group:
    """Small talk: one sample, nothing to check, nothing to vote on."""
    route: Route = "easy"
    group = Group(
        task=make_task(8, "Good morning!", model="auto:fast"),
        plan=make_plan(
            kind="none",
            route=route,
            difficulty=0.06,
            reasons=(Reason(feature="greeting", value=True, contribution=-2.8),),
            first_round=1,
            cap=1,
            live=True,
        ),
        scored=(
            Scored(
                sample=make_sample(0, "Good morning! How can I help you today?"),
                answer=Answer(kind="none", rule=None, reason="no_answer"),
            ),
        ),
    )
    return close(group, "unverified", 0, "single")


def without_content() -> Group:
    """What is left of a group whose texts may not be kept."""
    group = split_vote()
    return dataclasses.replace(
        group,
        task=make_task(9, "", content="off", messages=()),
        scored=tuple(
            dataclasses.replace(
                scored,
                sample=dataclasses.replace(scored.sample, text="", token_ids=None, logprobs=None),
            )
            for scored in group.scored
        ),
    )


def cascade() -> Group:
    """A small model split over a word problem; a big one agreed, once in words, once by program."""
    prompt = "A tram has 4 cars with 48 seats each; 35 seats are taken. How many are free?"
    plan = make_plan(
        rule="two_kinds", first_round=2, cap=4, route_name="sums", fallback="big", max_error=0.05
    )
    small = tuple(
        Scored(
            sample=make_sample(index, f"There are {value} free seats."),
            answer=number_answer(value),
        )
        for index, value in enumerate(("157", "13", "192", "83"))
    )
    given_up = close(
        Group(task=make_task(0, prompt), plan=plan, scored=small), "unverified", 0, "cap"
    )
    asked = dataclasses.replace(plan, policy="big-7b", engine="large", fallback="")
    said = make_sample(
        4,
        "4 × 48 = 192, and 192 − 35 = 157 seats are free.",
        stage=1,
        round=3,
        started_ms=420.0,
        first_token_ms=470.0,
        finished_ms=640.0,
    )
    ran = dataclasses.replace(
        said,
        index=5,
        kind="program",
        text="157",
        raw_text="```python\nprint(4 * 48 - 35)\n```",
        altered=("program_run",),
        trainable=False,
        not_trainable="program",
    )
    broken = dataclasses.replace(ran, index=6, text="", raw_text="```python\n1 / 0\n```")
    failed_run = Answer(kind="none", rule=None, reason="program_raised: ZeroDivisionError")
    group = given_up.next_stage(asked).with_scored(
        Scored(sample=said, answer=number_answer("157")),
        Scored(sample=ran, answer=number_answer("157")),
        Scored(sample=broken, answer=failed_run),
    )
    tallied = group.with_tally(tally_votes(group.current))
    closed = close(tallied, "agreed", 4, "two_kinds", counted=False)
    return closed.with_spans(
        Span(name="run_program", start_ms=640.0, end_ms=668.0, sample=5),
        Span(name="fallback", start_ms=400.0, end_ms=670.0),
    )


def calibrated() -> Calibration:
    """A route with labels of votes that were served at four confidences, and of proven answers."""
    three = Evidence(n=3, a=3, b=0, distinct=1, nulls=0)
    proven = dataclasses.replace(three, proven=True)
    said = ((0.31, 20, 8), (0.52, 40, 19), (0.78, 60, 49), (0.96, 180, 174))
    outcomes = [
        Outcome(evidence=three, right=number < right, said=confidence)
        for confidence, total, right in said
        for number in range(total)
    ]
    proofs = [Outcome(evidence=proven, right=True)] * 12
    return calibrate([*outcomes, *proofs], route="maths", policy="policy-3")


def every_group() -> tuple[Group, ...]:
    return (
        split_vote(),
        unverified(),
        cached(),
        failed(),
        tool_call(),
        sixteen(),
        hostile(),
        greeting(),
        without_content(),
        cascade(),
    )
