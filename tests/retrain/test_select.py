"""Which groups a night trains on; what a hostile log cannot put into it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import app.engines.trainable
import app.retrain.sieve
import app.store.training_rows
from app.engines.trainable import why_not_sample
from app.group import CacheRecord, Group
from app.retrain.select import (
    WHY,
    Selection,
    SelectSettings,
    describe,
    rows_to_train,
    select_groups,
)
from app.retrain.sieve import Lineage
from app.sample import Origin
from app.store.base import CANARY_AUTHOR
from app.store.sides import Side
from app.store.training_log import LoggedGroup
from tests import strategies
from tests.retrain.logged import label, logged, with_sample
from tests.store.groups import failed_group, make_plan, make_scored
from verifiers.base import Status

LINEAGE = Lineage(parent="policy-3", ancestors=frozenset({"policy-2", "base"}))
SMALL = SelectSettings(min_groups=1)
NAN = float("nan")


def select(*log: LoggedGroup, lineage: Lineage = LINEAGE, **settings: Any) -> Selection:
    return select_groups(log, lineage, replace(SMALL, **settings), seed=0)


def regrade(known: LoggedGroup, **change: Any) -> LoggedGroup:
    """The same group with something changed in every verdict, or in the reward."""
    reward = {"reward": change.pop("reward")} if "reward" in change else {}
    scored = tuple(
        replace(s, verdicts=tuple(replace(v, **change) for v in s.verdicts), **reward)
        for s in known.group.scored
    )
    return replace(known, group=replace(known.group, scored=scored))


def with_group(known: LoggedGroup, **change: Any) -> LoggedGroup:
    return replace(known, group=replace(known.group, **change))


def test_a_group_with_better_and_worse_samples_is_used() -> None:
    selection = select(logged(1))
    (kept,) = selection.kept

    assert kept.candidate.samples == (0, 1, 2, 3)
    assert kept.candidate.pass_rate == 0.5
    assert kept.candidate.tokens == 4 * (12 + 4)
    assert (selection.left_out, selection.samples_left_out, selection.skip) == ({}, {}, "")


@pytest.mark.parametrize(
    ("reason", "known"),
    [
        ("all_right", logged(answers=["42"] * 4)),
        ("all_wrong", logged(answers=["41"] * 4)),
        ("few_samples", logged(answers=["42", "41", "41"])),
        ("held_out_gate", logged(split="gate")),
        ("held_out_audit", logged(split="audit")),
        ("cache_hit", logged(cache=CacheRecord(hit=True))),
        ("failed", LoggedGroup(group=failed_group(), side=None)),
        ("no_prompt", logged(prompt="")),
        ("other_policy", logged(policy="gpt-x")),
    ],
)
def test_a_group_that_teaches_nothing_is_left_out(reason: str, known: LoggedGroup) -> None:
    selection = select(known)

    assert selection.kept == ()
    assert selection.left_out == {reason: 1}


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("no_token_ids", {"token_ids": None}),
        ("no_logprobs", {"logprobs": None}),
        ("misaligned_logprobs", {"logprobs": (-0.5, -0.25)}),
        ("bad_logprobs", {"logprobs": (-0.5, NAN, -1.0, -0.1)}),
        ("bad_logprobs", {"logprobs": (-0.5, -9999.0, -1.0, -0.1)}),
        ("bad_logprobs", {"logprobs": (-0.5, float("-inf"), -1.0, -0.1)}),
        ("bad_logprobs", {"logprobs": (-0.5, 0.5, -1.0, -0.1)}),
        ("empty_completion", {"text": " \n"}),
        ("no_token_ids", {"text": "", "token_ids": (), "logprobs": ()}),
        ("unfinished", {"cancelled": True}),
        ("top_p", {"trainable": False, "not_trainable": "top_p"}),
    ],
)
def test_a_sample_that_is_not_sound_is_left_out_with_its_reason(
    reason: str, change: dict[str, Any]
) -> None:
    good = logged(1, answers=["42"] * 3 + ["41"] * 3)
    one = with_sample(good.group.scored[0], **change)
    some = with_group(good, scored=(one, *good.group.scored[1:]))
    selection = select(some, logged(2, change=change))

    assert [kept.candidate.samples for kept in selection.kept] == [(1, 2, 3, 4, 5)]
    assert selection.left_out == {reason: 1}
    assert selection.samples_left_out == {reason: 5}


@pytest.mark.parametrize(
    ("reason", "known"),
    [
        ("no_reward", regrade(logged(), reward=None)),
        ("bad_reward", regrade(logged(), reward=NAN)),
        ("bad_reward", regrade(logged(), reward=7.0)),
        ("unfounded_reward", regrade(logged(), status=Status.ABSTAIN, score=None)),
        ("unfounded_reward", regrade(logged(), role="gate", status=Status.PASS)),
        ("judge_alone", regrade(logged(), role="judge")),
        ("old_verifier", regrade(logged(), version="0")),
    ],
)
def test_a_reward_is_the_word_of_verifiers_in_use(reason: str, known: LoggedGroup) -> None:
    selection = select(known, lineage=replace(LINEAGE, verifiers={"calculator": "1"}))

    assert selection.left_out == {reason: 1}


def test_a_failed_gate_is_a_reward_of_zero() -> None:
    known = logged()
    gate = replace(known.group.scored[0].verdicts[0], role="gate", status=Status.FAIL)
    stopped = replace(known.group.scored[3], verdicts=(gate,), reward=0.0)
    selection = select(with_group(known, scored=(*known.group.scored[:3], stopped)))

    assert len(selection.kept) == 1


def test_judges_can_be_believed_by_choice() -> None:
    assert len(select(regrade(logged(), role="judge"), judges=True).kept) == 1


@pytest.mark.parametrize("what", ["base_model", "tokenizer", "chat_template"])
def test_what_was_written_with_another_tokenizer_template_or_model_does_not_train(
    what: str,
) -> None:
    def of(digest: str | None, number: int) -> LoggedGroup:
        known = logged(number)
        origin = Origin(**{f"{what}_digest": digest})
        return with_group(known, calls=(replace(known.group.calls[0], origin=origin),))

    lineage = replace(LINEAGE, **{f"{what}_digest": "ours"})
    selection = select(of("ours", 1), of("theirs", 2), of(None, 3), lineage=lineage)

    assert len(selection.kept) == 2
    assert selection.left_out == {f"other_{what}": 1}


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("label_disagrees", label("wrong")),
        ("label_disagrees", label("right", sample=2)),
        ("doubted_verdict", label("note", author=CANARY_AUTHOR)),
        (None, label("right")),
        (None, label("wrong", sample=2)),
        (None, label("note")),
    ],
)
def test_feedback_can_put_a_group_aside(reason: str | None, said: Any) -> None:
    """The first two samples are right, the first one was served."""
    selection = select(logged(labels=[said]))

    assert selection.left_out == ({reason: 1} if reason else {})


def test_feedback_never_makes_a_reward() -> None:
    unchecked = regrade(logged(1), reward=None, status=Status.ABSTAIN, score=None)
    wrong = logged(2, answers=["41"] * 4)
    praised = [
        replace(known, labels=(label("right", sample=i),))
        for known in (unchecked, wrong)
        for i in range(4)
    ]
    selection = select(*praised)

    assert selection.kept == ()


def test_worse_samples_of_an_older_policy_are_compared_with_and_not_pushed_down() -> None:
    old = logged(1, policy="policy-2")
    selection = select(old, logged(2))
    rows = {k.candidate.policy: k for k in selection.kept}
    trained = rows_to_train(rows["policy-2"], old)

    assert rows["policy-2"].candidate.compared_only == (2, 3)
    assert rows["policy-3"].candidate.compared_only == ()
    assert [row["trainable"] for row in trained] == [True, True, False, False]
    assert selection.samples == 6
    assert selection.samples_left_out == {"stale_negative": 2}


def test_only_samples_of_one_prompt_and_policy_are_compared() -> None:
    """The fallback of a cascade is another model; its samples are no siblings."""
    first = logged(1)
    group = first.group.next_stage(make_plan(policy="gpt-x")).with_scored(
        *(make_scored(i, "42", stage=1, call=1) for i in range(4, 10))
    )
    call = replace(group.calls[0], index=1, prompt_token_ids=(9, 9))
    selection = select(replace(first, group=group.with_calls(call)))

    assert selection.kept[0].candidate.samples == (0, 1, 2, 3)
    assert selection.samples_left_out == {"other_policy": 6}


def test_a_program_does_not_train() -> None:
    known = logged(1)
    program = make_scored(4, "42", kind="program", trainable=False, not_trainable="program")
    selection = select(with_group(known, scored=(*known.group.scored, program)))

    assert selection.samples_left_out == {"program": 1}


def test_imitating_needs_ids_and_a_full_reward_and_neither_logprobs_nor_losers() -> None:
    bare = {"logprobs": None, "trainable": False, "not_trainable": "no_logprobs"}
    log = (
        logged(1, answers=["42"], change=bare),
        logged(2, answers=["41"] * 4, change=bare),
        logged(3, policy="gpt-x", change={**bare, "token_ids": None}),
    )
    sft = select(*log, objective="sft")
    distill = select(*log, objective="distill")

    assert [k.candidate.samples for k in sft.kept] == [(0,)]
    assert sft.left_out == {"no_token_ids": 1, "none_verified": 1}
    assert sorted(k.candidate.samples for k in distill.kept) == [(0,), (0, 1)]


def test_easy_groups_come_first_and_even_ones_weigh_most() -> None:
    log = [logged(right, answers=["42"] * right + ["41"] * (8 - right)) for right in (2, 7, 4, 1)]
    kept = select(*log).kept

    assert [k.candidate.pass_rate for k in kept] == [7 / 8, 4 / 8, 2 / 8, 1 / 8]
    assert max(kept, key=lambda k: k.weight).candidate.pass_rate == 0.5
    assert sum(k.weight for k in kept) == pytest.approx(4)


def test_one_key_that_floods_one_prompt_is_heard_twice() -> None:
    flood = [logged(i, prompt="say 41", tenant="mallory") for i in range(50)]
    honest = [logged(100 + i, tenant=f"t{i}") for i in range(60)]
    selection = select(*flood, *honest)
    tenants = [kept.candidate.tenant for kept in selection.kept]

    assert tenants.count("mallory") <= 1
    assert selection.left_out["prompt_cap"] == 48
    assert selection.left_out["tenant_cap"] >= 1


def test_a_night_with_too_little_is_skipped_and_says_how_much_there_was() -> None:
    selection = select(logged(1), logged(2), min_groups=3)

    assert selection.skip == "2 groups can be used and a night needs 3"
    assert len(selection.kept) == 2


def test_the_choice_follows_from_the_log_and_the_seed_alone() -> None:
    log = [logged(i, tenant=f"t{i % 7}") for i in range(40)]
    wide = replace(SMALL, tenant_share=0.5, max_groups=10)
    chosen = [
        select_groups(given, LINEAGE, wide, seed=seed).trace_ids()
        for seed, given in ((1, log), (1, log[::-1]), (2, log))
    ]

    assert chosen[0] == chosen[1]
    assert chosen[0] != chosen[2]
    assert len(chosen[0]) == 10


def test_a_hostile_log_leaves_a_night_that_runs_or_is_skipped() -> None:
    """Everything at once, between honest groups."""
    hostile = [
        *(logged(i, prompt="say 41", tenant="mallory") for i in range(20)),
        *(regrade(logged(30 + i), reward=None) for i in range(3)),
        *(regrade(logged(40 + i), reward=1.0, status=Status.ERROR) for i in range(3)),
        *(logged(50 + i, change={"logprobs": (NAN,) * 4}) for i in range(3)),
        *(logged(60 + i, change={"text": ""}) for i in range(3)),
        *(logged(70 + i, labels=[label("wrong")]) for i in range(3)),
    ]
    honest = [logged(100 + i) for i in range(10)]
    selection = select(*hostile, *honest)
    alone = select(*hostile)

    assert {k.candidate.trace_id for k in selection.kept} == {h.group.trace_id for h in honest}
    assert (alone.kept, alone.skip) == ((), "0 groups can be used and a night needs 1")


def test_a_dry_run_says_what_would_be_used_and_why_the_rest_is_not() -> None:
    selection = select(
        logged(1), logged(2, answers=["42"] * 4), logged(3, split="gate"), min_groups=5
    )

    assert describe(selection).splitlines() == [
        "1 of 3 groups would be used: 4 samples, 64 tokens",
        "pass rate 0.50, from 0.50 (first) to 0.50 (last)",
        "groups left out:",
        "  1  every sample was right (all_right)",
        "  1  its prompt is held out for the gate (held_out_gate)",
        "The night is skipped: 1 groups can be used and a night needs 5",
    ]


def test_a_selection_is_json() -> None:
    said = json.loads(json.dumps(select(logged(1), logged(2)).to_json()))

    assert (said["groups"], said["tokens_by_tenant"]) == (2, {"local": 128})
    assert said["pass_rates"] == [0, 0, 0, 0, 0, 2, 0, 0, 0, 0]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(group=strategies.groups, objective=st.sampled_from(["tapered", "sft", "distill"]))
def test_any_group_is_used_or_left_out_for_a_reason(group: Group, objective: str) -> None:
    lineage = Lineage(parent=group.plan.policy)
    known = LoggedGroup(group=group, side=Side("founder", "train"))
    wide = {"min_samples": 2, "judges": True, "objective": objective}
    selection = select(known, lineage=lineage, **wide)

    assert len(selection.kept) + sum(selection.left_out.values()) == 1
    assert "" not in selection.left_out
    for kept in selection.kept:
        assert all(row["reward"] is not None for row in rows_to_train(kept, known))


def test_every_reason_is_explained() -> None:
    modules = (app.engines.trainable, app.store.training_rows, app.retrain.sieve)
    sources = "".join(Path(str(module.__file__)).read_text() for module in modules)
    codes = set(re.findall(r'return "([a-z_]+)"', sources))
    codes |= set(re.findall(r', "([a-z_]+)"\),\n', sources))

    assert codes >= {"top_p", "no_reward", "judge_alone"}
    assert codes - {"processed", "unprocessed", "not_trainable"} <= set(WHY)


def test_without_token_ids_nothing_is_trained_and_nothing_made_up() -> None:
    """pc-048: ids made from text and log probabilities filled up with zeros do not line up."""
    missing = why_not_sample(None, (-0.5,) * 8, "stop", (), floor=-9999)
    uneven = why_not_sample(tuple(range(12)), (-0.5,) * 11, "stop", (), floor=-9999)
    bare = {"trainable": False, "not_trainable": missing, "token_ids": None}
    short = {
        "trainable": False,
        "not_trainable": uneven,
        "token_ids": tuple(range(12)),
        "logprobs": (-0.5,) * 11,
    }
    log = (
        logged(1, answers=["42"] * 4 + ["41"] * 4, change=bare),
        logged(2, change=short),
    )
    selection = select(*log)
    stored = [row for known in log for row in known.rows()]

    assert (missing, uneven) == ("no_token_ids", "misaligned_logprobs")
    assert selection.kept == ()
    assert selection.samples_left_out == {missing: 8, uneven: 4}
    assert {row["token_ids"] for row in stored[:8]} == {None}
    assert {len(row["logprobs"]) for row in stored[8:]} == {11}
