"""Nights with the real trainer on a tiny Llama: from the log to weights, through kill -9."""

from __future__ import annotations

import asyncio
import json
import math
import multiprocessing
import os
import random
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from app.group import Group
from app.retrain.night import claim_night, today, work_night
from app.retrain.process import base_tokenizer
from app.sample import Origin
from app.store.base import Label
from app.store.nights import LEASE_S
from app.store.sides import split_of
from app.store.sql import SqlStore
from app.store.training_rows import hash_prompt
from tests.retrain.nights import NOON, owned_by, world
from tests.retrain.tiny import TEMPERATURE, make_model, make_rows, save_model
from tests.retrain.tokenizers_made import save_tokenizer
from tests.store.groups import START, make_group, make_scored, trace_id_at
from verifiers.base import Status

pytestmark = pytest.mark.train

DAY = today(START)
TINY: dict[str, Any] = {
    "python": "",
    "lr": 2e-2,
    "epochs": 4,
    "groups_per_step": 4,
    "token_budget": 200,
    "lora_rank": 8,
    "dtype": "float32",
    "threads": 1,
    "checkpoint_every": 2,
    "groups_per_prompt": 1,
    "guards": {"m2_stop": 0, "ess_stop": 0, "entropy_drop": 0, "grad_spike": 0},
    "gate": {"min_prompts": 150, "kl_budget": 100.0},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="module")
def drawn() -> tuple[Group, ...]:
    """Groups that the tiny model drew, on the side that is trained on."""
    rows = make_rows(make_model(), groups=30, samples=6)
    made = [as_group(n, list(own)) for n, (_, own) in enumerate(groupby(rows, by_trace))]
    return tuple(group for group in made if split_of(hash_prompt(group)) == "train")


def by_trace(row: dict[str, Any]) -> Any:
    return row["trace_id"]


def as_group(number: int, rows: Sequence[dict[str, Any]], **task: Any) -> Group:
    at = START + number
    group = make_group(
        at,
        answers=["42"] * len(rows),
        plan={"policy": "smol", "temperature": TEMPERATURE},
        task={
            "trace_id": trace_id_at(at, number),
            "messages": ({"role": "user", "content": f"riddle {number} of {7 * number}"},),
            **task,
        },
    )
    scored = tuple(
        make_scored(
            row["sample"],
            "42" if row["reward"] else "41",
            Status.PASS if row["reward"] else Status.FAIL,
            token_ids=tuple(row["token_ids"]),
            logprobs=tuple(row["logprobs"]),
            completion_tokens=len(row["token_ids"]),
        )
        for row in rows
    )
    (call,) = group.calls
    call = replace(call, prompt_token_ids=tuple(rows[0]["prompt_token_ids"]))
    return replace(group, scored=scored, calls=(call,))


def weights(folder: Path) -> bytes:
    return (folder / "policies" / "policy-1" / "adapter_model.safetensors").read_bytes()


def steps(folder: Path) -> int:
    path = folder / "nights" / f"{DAY}-main" / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, base: Path, drawn: tuple[Group, ...]) -> Path:
    """The folder of a night that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")

    async def run() -> None:
        async with world(folder, drawn, **TINY, base=str(base)) as here:
            night = await here.night()
        assert night.status == "promoted", night.report
        assert night.report is not None
        assert night.report["training"]["canary"]["mean"] < 1e-4
        assert night.report["training"]["steps"] == len(night.report["training"]["curve"])

    asyncio.run(run())
    return folder


def test_a_night_makes_a_policy_that_a_server_can_load(whole: Path) -> None:
    policy = whole / "policies" / "policy-1"

    assert json.loads((policy / "policy.json").read_text())["objective"] == "tapered"
    assert json.loads((policy / "adapter_config.json").read_text())["r"] == 8
    assert not (whole / "nights" / f"{DAY}-main" / "checkpoints").exists()


async def test_the_trainer_killed_at_random_steps_ends_with_the_same_weights(
    tmp_path: Path, whole: Path, base: Path, drawn: tuple[Group, ...]
) -> None:
    rng = random.Random(11)
    async with world(tmp_path, drawn, **TINY, base=str(base)) as here:
        ends = []
        for kill_at in sorted(rng.sample(range(1, steps(whole) - 2), 2)):
            night = asyncio.create_task(here.night())
            trainer = await the_trainer(tmp_path, kill_at)
            os.kill(trainer, signal.SIGKILL)
            ends.append(await night)
        done = await here.night()

    assert [night.status for night in ends] == ["failed"] * 2
    assert all("killed by signal 9" in n.report["night"]["reason"] for n in ends if n.report)
    assert done.status == "promoted"
    assert weights(tmp_path) == weights(whole)
    assert done.report is not None
    assert len(done.report["training"]["curve"]) == steps(whole)


async def the_trainer(folder: Path, at_step: int) -> int:
    """Its process id, once it has written down so many steps."""
    for _ in range(12_000):
        found = await asyncio.to_thread(trainers_in, folder)
        if steps(folder) >= at_step and found:
            return found[0]
        await asyncio.sleep(0.01)
    raise AssertionError("the trainer did not get so far")


def trainers_in(folder: Path) -> list[int]:
    return [pid for pid, command in processes() if f"{folder}/nights" in command[-1:][0]]


def processes() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().decode().rstrip("\0").split("\0")
            except OSError:
                continue
            if "app.retrain.train" in command:
                yield int(entry.name), command


CONTEXT = multiprocessing.get_context("forkserver")


def run_a_night(folder: str, base: str) -> None:
    async def go() -> None:
        async with world(Path(folder), (), **TINY, base=base) as here:
            await here.night()

    asyncio.run(go())


async def test_a_gateway_killed_while_it_trains_takes_the_trainer_along_and_is_replaced(
    tmp_path: Path, whole: Path, base: Path, drawn: tuple[Group, ...]
) -> None:
    async with world(tmp_path, drawn, **TINY, base=str(base)) as here:
        gateway = CONTEXT.Process(target=run_a_night, args=(str(tmp_path), str(base)))
        await asyncio.to_thread(gateway.start)
        assert gateway.pid is not None
        trainer = await the_trainer(tmp_path, 3)
        os.kill(gateway.pid, signal.SIGKILL)
        await asyncio.to_thread(gateway.join)
        gone = await is_gone(trainer)
        here.now[0] = NOON + LEASE_S + 1
        claim = await claim_night(owned_by(here, "two"), here.settings, DAY)
        done = await work_night(claim.night, owned_by(here, "two"))

    assert gone
    assert (claim.won, done.status) == (True, "promoted")
    assert weights(tmp_path) == weights(whole)


async def is_gone(pid: int) -> bool:
    for _ in range(500):
        if pid not in [found for found, _ in await asyncio.to_thread(lambda: [*processes()])]:
            return True
        await asyncio.sleep(0.01)
    return False


def spoilt(group: Group, number: int, **change: Any) -> Group:
    """A copy under another prompt, all of whose samples have this fault."""
    messages = ({"role": "user", "content": f"spoilt {number} and {3 * number}"},)
    task = replace(
        group.task, trace_id=trace_id_at(START + 900 + number, number), messages=messages
    )
    scored = tuple(replace(s, sample=replace(s.sample, **change)) for s in group.scored)
    return replace(group, task=task, scored=scored)


def on_train(group: Group, number: int, **change: Any) -> Group:
    """The first such copy whose prompt is trained on."""
    tries = (spoilt(group, 1_000 * number + salt, **change) for salt in range(1_000))
    return next(g for g in tries if split_of(hash_prompt(g)) == "train")


async def add_labels(folder: Path, labels: Sequence[Label]) -> None:
    url = f"sqlite+aiosqlite:///{folder / 'verivote.db'}"
    store = SqlStore(url, folder / "spool.db", clock=lambda: NOON)
    await store.start()
    for label in labels:
        await store.add_label(label)
    await store.close()


async def test_a_hostile_log_is_left_out_reason_by_reason_and_the_night_runs(
    tmp_path: Path, base: Path, drawn: tuple[Group, ...]
) -> None:
    base = save_tokenizer(Path(shutil.copytree(base, tmp_path / "with_tokenizer")))
    ours = await base_tokenizer(base, sys.executable)
    theirs = await base_tokenizer(
        save_tokenizer(tmp_path / "another", reverse=True), sys.executable
    )
    assert ours is not None
    assert theirs is not None
    good = [with_origin(group, ours) for group in drawn]
    one = good[0]
    flood = [
        replace(
            one,
            task=replace(
                one.task,
                tenant="flooder",
                trace_id=trace_id_at(START + 2_000 + n, n),
            ),
        )
        for n in range(40)
    ]
    null = on_train(one, 2)
    null = replace(null, scored=tuple(replace(s, reward=None, verdicts=()) for s in null.scored))
    forged = replace(
        on_train(one, 4),
        scored=tuple(
            replace(s, verdicts=(replace(s.verdicts[0], status=Status.FAIL, score=0.0),))
            for s in one.scored
        ),
    )
    forged = replace(forged, scored=tuple(replace(s, reward=0.0) for s in forged.scored))
    hostile = [
        *flood,
        null,
        with_mu(on_train(one, 3), -9999.0),
        with_mu(on_train(one, 9), math.nan),
        forged,
        with_origin(on_train(one, 5), theirs),
        on_train(one, 6, text="  "),
        on_train(one, 7, token_ids=None),
        on_train(one, 8, logprobs=(-1.0,)),
    ]
    async with world(tmp_path, [*good, *hostile], **TINY, base=str(base)) as here:
        said = {"author": "mallory", "created_at": START}
        await add_labels(
            tmp_path,
            [
                # A person calls what was refuted right, over and over: it is not trained on.
                Label(id=str(n), trace_id=forged.trace_id, kind="right", sample=0, **said)
                for n in range(20)
            ],
        )
        night = await here.night(tenant_share=0.02)

    assert night.report is not None
    left_out = night.report["selection"]["left_out"]
    assert night.status == "promoted", night.report["night"]["reason"]
    assert {
        reason: left_out.get(reason, 0)
        for reason in (
            "prompt_cap",
            "no_reward",
            "bad_logprobs",
            "label_disagrees",
            "other_tokenizer",
            "empty_completion",
            "no_token_ids",
            "misaligned_logprobs",
        )
    } == {
        "prompt_cap": 40,
        "no_reward": 1,
        "bad_logprobs": 2,
        "label_disagrees": 1,
        "other_tokenizer": 1,
        "empty_completion": 1,
        "no_token_ids": 1,
        "misaligned_logprobs": 1,
    }
    assert night.report["selection"]["groups"] <= len(good)


def with_mu(group: Group, value: float) -> Group:
    """Every token with this log probability."""
    scored = (
        replace(s, sample=replace(s.sample, logprobs=(value,) * len(s.sample.token_ids or ())))
        for s in group.scored
    )
    return replace(group, scored=tuple(scored))


def with_origin(group: Group, tokenizer: str) -> Group:
    origin = Origin(tokenizer_digest=tokenizer)
    return replace(group, calls=tuple(replace(call, origin=origin) for call in group.calls))


async def test_a_log_that_another_tokenizer_split_trains_nothing(
    tmp_path: Path, base: Path, drawn: tuple[Group, ...]
) -> None:
    """All of it agrees with itself, so only the folder that is trained on can tell."""
    base = save_tokenizer(Path(shutil.copytree(base, tmp_path / "with_tokenizer")))
    wrong = [with_origin(group, "theirs") for group in drawn]
    async with world(tmp_path, wrong, **TINY, base=str(base)) as here:
        night = await here.night()

    assert night.report is not None
    assert night.status == "skipped"
    assert night.report["selection"]["left_out"] == {"other_tokenizer": len(drawn)}


async def test_a_log_of_nothing_but_faults_is_refused_cleanly(
    tmp_path: Path, base: Path, drawn: tuple[Group, ...]
) -> None:
    faults = [on_train(drawn[0], n, token_ids=None) for n in range(12)]
    async with world(tmp_path, faults, **TINY, base=str(base)) as here:
        night = await here.night()
        policies = await here.policies.list()

    assert (night.status, policies) == ("skipped", ())
    assert night.report is not None
    assert night.report["selection"]["left_out"] == {"no_token_ids": 12}


async def test_rows_of_another_model_are_refused_before_training(
    tmp_path: Path, base: Path, drawn: tuple[Group, ...]
) -> None:
    """The µ in the log is not what these weights say: a template or a tokenizer has changed."""
    drifted = [
        replace(
            group,
            calls=tuple(
                replace(call, prompt_token_ids=(9, *(call.prompt_token_ids or ())))
                for call in group.calls
            ),
        )
        for group in drawn
    ]
    async with world(tmp_path, drifted, **TINY, base=str(base)) as here:
        night = await here.night()

    assert night.status == "refused"
    assert night.report is not None
    assert "chat template, tokenizer" in night.report["night"]["reason"]
