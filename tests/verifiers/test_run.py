from __future__ import annotations

import math
import os

import pytest

from verifiers.base import (
    AnswerContract,
    BadCheck,
    Candidate,
    Check,
    Finding,
    Prepared,
    Status,
    VerifierSpec,
    get_verifier,
)
from verifiers.judging import MAX_CANDIDATE_CHARS
from verifiers.run import Member, Panel, Runner

MODULE = "tests.verifiers.misbehaving"
NUMBER = AnswerContract(kind="number")


@pytest.fixture
async def plugged():
    runner = Runner(deadline_ms=1_500, plugins=(MODULE,))
    yield runner
    await runner.close()


async def verdict_of(runner: Runner, way: str, **options: object):
    spec = VerifierSpec(use="misbehaving", options={"way": way, **options})
    panel = await runner.prepare([spec], Check())
    judged = await runner.judge(panel, NUMBER, Candidate(text="Answer: 5"))
    (verdict,) = judged.verdicts
    return judged, verdict


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("raise", "raised"),
        ("exit", "raised"),
        ("interrupt", "raised"),
        ("recurse", "raised"),
        ("refuse", "raised"),
        ("print_a_pass", "raised"),
        ("hard_exit", "died"),
        ("hang", "timeout"),
        ("spin", "timeout"),
        ("true", "not_a_finding"),
        ("none", "not_a_finding"),
        ("dict", "not_a_finding"),
        ("nan", "bad_score"),
        ("infinite", "bad_score"),
        ("bool_score", "bad_score"),
        ("odd_evidence", "bad_evidence"),
        ("forge_a_reply", "garbage"),
    ],
)
async def test_a_broken_plug_in_is_an_error_and_never_a_pass(plugged, way, reason):
    judged, verdict = await verdict_of(plugged, way)

    assert (verdict.status, verdict.reason, verdict.score) == ("error", reason, None)
    assert (judged.answer.key, judged.reward) == ("5", None)


async def test_a_plug_in_that_eats_memory_is_stopped_at_its_limit(plugged):
    _, verdict = await verdict_of(plugged, "eat_memory")

    assert verdict.status == "error"


@pytest.mark.parametrize("way", ["raise", "exit", "recurse"])
async def test_a_plug_in_that_cannot_prepare_is_an_error_too(plugged, way):
    judged, verdict = await verdict_of(plugged, way, early=True)

    assert (verdict.status, verdict.decisive, judged.reward) == ("error", False, None)
    assert verdict.reason.startswith("prepare_raised")


@pytest.mark.parametrize("way", ["hang", "hard_exit"])
async def test_preparing_has_a_deadline_too(plugged, way):
    spec = VerifierSpec(use="misbehaving", options={"way": way, "early": True}, param="v[0]")

    with pytest.raises(BadCheck) as refused:
        await plugged.prepare([spec], Check())

    assert refused.value.param == "v[0]"


async def test_a_score_out_of_range_is_clamped(plugged):
    judged, verdict = await verdict_of(plugged, "too_much")

    assert (verdict.status, verdict.score, judged.reward) == ("fail", 1.0, 1.0)


@pytest.mark.parametrize(
    "way", ["fork", "start_a_shell", "open_a_connection", "make_a_pair", "signal_the_parent"]
)
async def test_a_plug_in_starts_nobody_and_reaches_nobody(plugged, way):
    """The worker's system calls are refused; what a plug-in makes of that is an error."""
    for _ in range(2):
        _, verdict = await verdict_of(plugged, way)

        assert (verdict.status, verdict.reason) == ("error", "raised")
        assert verdict.evidence["error"] == "PermissionError"


async def test_a_plug_in_is_never_run_in_this_process(plugged, tmp_path):
    noted = tmp_path / "pid"

    await verdict_of(plugged, "write_pid", path=str(noted))

    assert int(noted.read_text()) != os.getpid()


async def test_a_worker_sees_no_environment_and_no_descriptors(plugged):
    _, verdict = await verdict_of(plugged, "look_around")

    assert set(verdict.evidence["environ"]) <= {"LC_CTYPE"}
    assert len(verdict.evidence["descriptors"]) <= 5  # three null devices, the socket, /proc itself
    assert verdict.evidence["cwd"] == "/"


async def test_a_verifier_that_is_not_a_plug_in_of_the_workers_is_an_error(runner):
    """Registered in this process only: a worker does not know it, and it is not run here."""
    panel = await runner.prepare(
        [VerifierSpec(use="misbehaving", options={"way": "pass"})], Check()
    )

    judged = await runner.judge(panel, NUMBER, Candidate(text="5"))

    assert (judged.verdicts[0].status, judged.reward) == ("error", None)


async def test_an_inline_verifier_that_breaks_is_an_error(runner):
    class Broken:
        name, version, role, isolation = "broken", "1", "outcome", "inline"

        def verify(self, prepared, candidate, answer):
            return prepared.payload()

    def member(payload):
        prepared = Prepared(payload=payload, decisive=True)
        return Member(
            verifier=Broken(), prepared=prepared, spec=VerifierSpec(use="broken"), config_hash=""
        )

    ways = [
        lambda: 1 / 0,
        lambda: None,
        lambda: Finding(status=Status.PASS, score=math.nan),
        lambda: Finding(status="passed"),
    ]

    judged = await runner.judge(
        Panel(members=tuple(map(member, ways))), NUMBER, Candidate(text="5")
    )

    assert {verdict.status for verdict in judged.verdicts} == {"error"}
    assert [v.reason for v in judged.verdicts] == [
        "raised",
        "not_a_finding",
        "bad_score",
        "bad_status",
    ]


async def test_a_candidate_that_never_ended_is_not_judged(runner):
    panel = await runner.prepare([VerifierSpec(use="number", options={"reference": 5})], Check())

    judged = await runner.judge(panel, NUMBER, Candidate(text="5", finish_reason=None))

    assert (judged.verdicts, judged.reward, judged.answer.reason) == ((), None, "unfinished")


async def test_a_truncated_candidate_is_judged_and_does_not_vote(runner):
    panel = await runner.prepare([VerifierSpec(use="number", options={"reference": 5})], Check())

    judged = await runner.judge(panel, NUMBER, Candidate(text="5", finish_reason="length"))

    assert (judged.verdicts[0].status, judged.answer.key) == ("fail", None)


@pytest.mark.parametrize("use", ["number", "json_schema"])
async def test_a_candidate_beyond_every_size_is_an_error(runner, use):
    options = {"reference": 5} if use == "number" else {"schema": {}}
    panel = await runner.prepare([VerifierSpec(use=use, options=options)], Check())

    judged = await runner.judge(
        panel, panel.contract, Candidate(text="5" * (MAX_CANDIDATE_CHARS + 1))
    )

    assert judged.verdicts[0].reason == "candidate_too_large"
    assert judged.reward is None


async def test_each_member_reads_the_answer_of_its_own_contract(runner):
    specs = [
        VerifierSpec(use="number", options={"reference": 5}),
        VerifierSpec(use="choice", options={"reference": "B", "choices": ["A", "B"]}),
    ]
    panel = await runner.prepare(specs, Check())

    judged = await runner.judge(panel, panel.contract, Candidate(text="Option (B) is correct. 6"))

    assert [v.status for v in judged.verdicts] == ["fail", "pass"]
    assert (judged.answer.kind, judged.reward) == ("number", 0.5)


async def test_weights_are_read_from_the_specs(runner):
    specs = [
        VerifierSpec(use="number", options={"reference": 5, "weight": 3}),
        VerifierSpec(use="text", options={"reference": "x"}),
    ]
    panel = await runner.prepare(specs, Check())

    judged = await runner.judge(panel, panel.contract, Candidate(text="5"))

    assert judged.reward == 0.75


@pytest.mark.parametrize(
    ("specs", "kind", "decisive"),
    [
        ([], None, False),
        ([("number", {})], "number", False),
        ([("text", {}), ("number", {"reference": 1})], "number", True),
        ([("text", {}), ("choice", {})], "text", False),
        ([("text", {"reference": "x"}), ("number", {"reference": 1})], "text", True),
    ],
)
async def test_the_vote_goes_by_a_decisive_member_first(runner, specs, kind, decisive):
    panel = await runner.prepare([VerifierSpec(use=u, options=o) for u, o in specs], Check())

    contract = panel.contract
    assert (contract and contract.kind, panel.decisive) == (kind, decisive)


async def test_the_config_hash_depends_on_the_options_and_not_on_their_order(runner):
    async def hash_of(options):
        panel = await runner.prepare([VerifierSpec(use="number", options=options)], Check())
        return panel.members[0].config_hash

    one = await hash_of({"reference": 1, "tolerance": 2})

    assert one == await hash_of({"tolerance": 2, "reference": 1})
    assert one != await hash_of({"tolerance": 3, "reference": 1})
    assert len(one) == 12


async def test_built_in_inline_kinds_need_no_worker(runner):
    panel = await runner.prepare([VerifierSpec(use="number", options={"reference": 5})], Check())

    await runner.judge(panel, NUMBER, Candidate(text="5"))

    assert runner.worker_pids == ()


async def test_registered_kinds_are_known_by_name():
    assert get_verifier("number").role == "outcome"
