"""A night from the log to a policy that serves, refused, skipped, interrupted, taken over."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from app.errors import ConfigError
from app.retrain.night import claim_night, plan_night, today, work_night
from app.store.nights import LEASE_S
from tests.retrain.logged import logged
from tests.retrain.nights import NOON, fake_trainer, owned_by, some_groups, why_left_out, world
from tests.store.groups import START, trace_id_at

DAY = today(START)


async def test_a_better_policy_serves_after_the_night(tmp_path):
    async with world(tmp_path, some_groups(30)) as here:
        night = await here.night()
        policy = await here.policies.get("policy-1")

    assert (night.status, policy.status, policy.parent) == ("promoted", "active", None)
    assert (policy.base_model, policy.night_id) == ("smol", night.id)
    assert policy.path == str(tmp_path / "policies" / "policy-1")
    assert here.adapters.calls == ["load policy-1"]
    assert list(night.report["phases"]) == [
        "select",
        "drift",
        "train",
        "load",
        "evaluate",
        "gate",
    ]
    assert night.report["gate"]["promote"]
    assert night.report["night"]["parent"] == "smol"
    assert here.told[-1].startswith("promoted: pass_at_1 ")


async def test_traffic_that_has_moved_is_reported_and_stops_nothing(tmp_path):
    """The night trains on a week; the week before had other prompts."""
    week_s = 7 * 86_400
    before = [at_earlier(group, week_s, n) for n, group in enumerate(some_groups(40))]
    now = [logged(n, policy="smol", prompt=f"{'much ' * 60}{n}").group for n in range(40)]
    async with world(tmp_path, [*before, *now]) as here:
        night = await here.night()

    drift = night.report["drift"]
    assert night.status == "promoted"
    assert drift["drifted"] == ["prompt_chars"]
    assert (drift["engine"], drift["before"]["groups"], drift["after"]["groups"]) == (
        "main",
        40,
        40,
    )
    assert drift["before"]["until"] == drift["after"]["since"]
    assert "the traffic has moved: prompt_chars" in here.told


async def test_a_night_that_is_skipped_says_too_whether_the_traffic_moved(tmp_path):
    async with world(tmp_path, some_groups(3)) as here:
        night = await here.night()

    assert (night.status, night.report["drift"]["moved"]) == ("skipped", [])
    assert night.report["drift"]["after"]["groups"] == 3


def at_earlier(group, seconds, number):
    at = group.task.received_at - seconds
    task = replace(group.task, received_at=at, trace_id=trace_id_at(at, number))
    return replace(group, task=task)


async def test_the_next_night_starts_from_what_serves(tmp_path):
    async with world(tmp_path, some_groups(30)) as here:
        await here.night()
        # Better samples of the base are still welcome; so the second night has a log too.
        second = await here.night(1)
        policy = await here.policies.get("policy-2")

    assert (policy.parent, second.report["night"]["parent"]) == ("policy-1", "policy-1")
    assert second.report["earlier"][0]["policy"] == "policy-1"


async def test_a_worse_policy_is_refused_and_nothing_changes(tmp_path):
    async with world(tmp_path, some_groups(30)) as here:
        here.accuracy["policy-1"] = 0.3
        night = await here.night()
        policy = await here.policies.get("policy-1")

    assert (night.status, policy.status) == ("refused", "refused")
    assert "p < 0.01 is needed" in night.report["night"]["reason"]


async def test_a_share_of_the_traffic_tries_it_first(tmp_path):
    async with world(tmp_path, some_groups(30), canary={"share": 0.1}) as here:
        night = await here.night()
        policy = await here.policies.get("policy-1")

    assert (night.status, policy.status) == ("canary", "canary")


async def test_too_small_a_log_is_skipped_with_the_reason(tmp_path):
    async with world(tmp_path, some_groups(3)) as here:
        night = await here.night()

    assert night.status == "skipped"
    assert night.report["night"]["reason"].endswith("groups can be used and a night needs 8")
    assert night.report["training"] is None
    assert not (tmp_path / "nights" / night.id / "job.json").exists()


async def test_a_plan_writes_nothing(tmp_path):
    async with world(tmp_path, some_groups(30)) as here:
        selection = await plan_night(here.parts, here.settings, DAY)
        nights = await here.parts.nights.list()

    assert (selection.seen, selection.skip, nights) == (30, "", ())
    assert not (tmp_path / "nights").exists()


async def test_a_night_is_run_once(tmp_path):
    async with world(tmp_path, some_groups(30)) as here:
        first = await here.night()
        again = await claim_night(here.parts, here.settings, DAY, again=True)

    assert (again.won, again.night.id, again.night.status) == (False, first.id, "promoted")


@pytest.mark.parametrize(
    ("code", "said", "status", "reason"),
    [
        (4, {"outcome": "stopped", "reason": "M2 0.4"}, "stopped", "M2 0.4"),
        (5, {"outcome": "refused", "reason": "canary: template"}, "refused", "canary: template"),
        (2, {"reason": "train.lr: no"}, "failed", "train.lr: no"),
        (3, {"reason": "torch is not installed"}, "failed", "torch is not installed"),
        (1, {"reason": "not enough memory"}, "failed", "not enough memory"),
    ],
)
async def test_how_the_trainer_ends_is_how_the_night_ends(tmp_path, code, said, status, reason):
    async with world(tmp_path, some_groups(30)) as here:
        night = await here.night(python=fake_trainer(tmp_path, code, **said))
        policies = await here.policies.list()

    assert (night.status, policies) == (status, ())
    assert reason in night.report["night"]["reason"]


async def test_a_night_that_failed_goes_on_where_it_was(tmp_path):
    async with world(tmp_path, some_groups(30)) as here:
        here.adapters.is_up = False
        failed = await here.night()
        here.adapters.is_up = True
        rows = (tmp_path / "nights" / failed.id / "rows.jsonl").read_bytes()
        done = await here.night()

    assert (failed.status, failed.report["night"]["reason"]) == ("failed", "the server is away")
    assert (done.status, done.policy) == ("promoted", failed.policy)
    assert "going on with what was chosen before" in here.told
    assert (tmp_path / "nights" / done.id / "rows.jsonl").read_bytes() == rows


async def test_other_settings_begin_anew(tmp_path):
    async with world(tmp_path, some_groups(30)) as here:
        here.adapters.is_up = False
        await here.night()
        here.adapters.is_up = True
        await here.night(lr=2e-5)

    assert "going on with what was chosen before" not in here.told


async def test_a_cancelled_night_is_left_to_the_next_process(tmp_path):
    async with world(tmp_path, some_groups(30)) as here:
        reached = asyncio.Event()

        async def hang(policy, seed):
            reached.set()
            await asyncio.Event().wait()

        claim = await claim_night(here.parts, here.settings, DAY)
        working = asyncio.create_task(work_night(claim.night, replace(here.parts, evaluate=hang)))
        await reached.wait()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        taken = await claim_night(owned_by(here, "two"), here.settings, DAY)
        done = await work_night(taken.night, owned_by(here, "two"))

    assert (taken.won, done.status) == (True, "promoted")


async def test_a_command_that_is_interrupted_has_failed(tmp_path):
    async with world(tmp_path, some_groups(30)) as here:
        reached = asyncio.Event()

        async def hang(policy, seed):
            reached.set()
            await asyncio.Event().wait()

        parts = replace(here.parts, evaluate=hang, goes_on=False)
        claim = await claim_night(parts, here.settings, DAY)
        working = asyncio.create_task(work_night(claim.night, parts))
        await reached.wait()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        night = await here.parts.nights.get(claim.night.id)

    assert (night.status, night.report["night"]["reason"]) == ("failed", "interrupted")


async def test_a_process_that_fell_after_the_decision_is_finished_by_the_next(tmp_path):
    """Killed between the moment when the policy serves and the end of the night's row."""
    async with world(tmp_path, some_groups(30)) as here:
        claim = await claim_night(here.parts, here.settings, DAY)

        class Fallen(type(here.parts.nights)):
            async def finish(self, *_, **__):
                raise asyncio.CancelledError

            async def let_go(self, *_):
                pass

        fallen = replace(here.parts, nights=Fallen(here.database))
        working = asyncio.create_task(work_night(claim.night, fallen))
        await asyncio.gather(working, return_exceptions=True)
        between = await here.parts.nights.get(claim.night.id)
        here.now[0] = NOON + LEASE_S + 1
        taken = await claim_night(owned_by(here, "two"), here.settings, DAY)
        done = await work_night(taken.night, owned_by(here, "two"))
        policy = await here.policies.get("policy-1")

    assert (between.status, policy.status) == ("running", "active")
    assert (taken.won, done.status, done.report["gate"]["promote"]) == (True, "promoted", True)
    assert done.report["night"]["finished_at"] == here.now[0]


async def test_who_lost_the_night_stops(tmp_path):
    async with world(tmp_path, some_groups(30)) as here:
        claim = await claim_night(here.parts, here.settings, DAY)
        here.now[0] = NOON + LEASE_S + 1
        await claim_night(owned_by(here, "two"), here.settings, DAY)

        async def hang(policy, seed):
            await asyncio.Event().wait()

        night = await work_night(claim.night, replace(here.parts, evaluate=hang))

    assert (night.status, night.owner) == ("running", "two")


async def test_what_was_promoted_meanwhile_is_not_overthrown(tmp_path):
    async with world(tmp_path, some_groups(30)) as here:
        first = await here.night()
        # The next candidate is compared with policy-1; before it is done, policy-1 is taken back.
        evaluate = here.parts.evaluate

        async def meanwhile(policy, seed):
            if policy == "policy-2":
                await here.policies.rollback("main", now=NOON)
            return await evaluate(policy, seed)

        here.accuracy["policy-2"] = 0.95
        here.parts = replace(here.parts, evaluate=meanwhile)
        night = await here.night(1)
        second = await here.policies.get("policy-2")

    assert first.status == "promoted"
    assert (night.status, second.status) == ("refused", "refused")
    assert (
        "'policy-2' was compared with 'policy-1', and 'smol' serves now"
        in (night.report["night"]["reason"])
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objective": "gpro"}, "did you mean 'grpo'?"),
        ({"python": "/nowhere/python"}, "retrain.python: there is no interpreter"),
        ({"base": "/nowhere"}, "retrain.base: there is no folder /nowhere"),
        ({"base": ""}, "retrain.base is missing"),
    ],
)
async def test_a_night_that_cannot_begin_says_which_setting(tmp_path, changes, said):
    async with world(tmp_path) as here:
        settings = here.settings.model_copy(update=changes)
        with pytest.raises(ConfigError) as wrong:
            await claim_night(here.parts, settings, DAY)
        nights = await here.parts.nights.list()

    assert said in wrong.value.message
    assert nights == ()


async def test_a_server_that_cannot_load_it_fails_the_night(tmp_path):
    async with world(tmp_path, some_groups(30)) as here:
        here.adapters.refuses = {"policy-1"}
        night = await here.night()

    assert night.report["night"]["reason"] == "the server refused policy-1"


async def test_groups_left_out_are_in_the_report(tmp_path):
    groups = [*some_groups(30), *some_groups(40, answers=("42",) * 4)[30:]]
    async with world(tmp_path, groups) as here:
        night = await here.night()

    assert why_left_out(night)["all_right"] == pytest.approx(10, abs=3)
