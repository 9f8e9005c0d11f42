"""A policy is asked on the path of every request: the same prompts, seeds and verifiers for all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.cli.evaluate import PUBLIC
from app.errors import ConfigError, EngineError
from app.evaluate import HeldOut, evaluate, held_out_of_file, held_out_of_log
from app.group import Group
from app.main import bare_rim
from app.store import schema
from app.store.database import open_engine
from app.store.sql import SqlStore
from tests.fakes.upstream import FakeUpstream, Request, Steps, error_reply, in_turn, scripted
from tests.retrain.logged import logged
from tests.running import settings_for
from tests.store.groups import START
from verifiers.base import BadCheck, VerifierSpec

RIGHT, WRONG = "Answer: 42", "Answer: 41"


def prompts_file(folder: Path, *rows: Mapping[str, Any]) -> Path:
    file = folder / "prompts.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def sums(count: int) -> list[dict[str, Any]]:
    number = {"use": "number", "reference": "42"}
    return [{"prompt": f"What is {n} + {42 - n}?", "verifiers": [number]} for n in range(count)]


async def ask(fake: FakeUpstream, folder: Path, policy: str = "m", k: int = 8, rows: int = 1):
    settings = settings_for(folder, fake.url)
    prompts = held_out_of_file(prompts_file(folder, *sums(rows)), "main")
    async with bare_rim(settings) as rim:
        return await evaluate(rim, prompts, policy, k, seed=3)


async def test_every_sample_is_drawn_though_the_first_one_is_proven_right(tmp_path):
    async with FakeUpstream(scripted(RIGHT, WRONG, WRONG, WRONG)) as fake:
        (outcome,) = await ask(fake, tmp_path)

    assert [sample.reward for sample in outcome.drawn] == [1.0, 0.0, 0.0, 0.0] * 2
    assert (outcome.pass_at_1, outcome.voted, outcome.verified) == (0.25, False, True)
    assert outcome.greedy is True
    assert sum(request.body.get("n") or 1 for request in fake.drawn) == 8 + 1


async def test_two_policies_get_the_same_seeds_on_the_same_prompts(tmp_path):
    async with FakeUpstream(scripted(RIGHT)) as fake:
        await ask(fake, tmp_path, "policy-1", rows=3)
        await ask(fake, tmp_path, "policy-2", rows=3)

    def asked(policy: str) -> dict[str, Any]:
        return {
            f"{r.body['messages'][0]['content']} at {r.body['temperature']}": r.body["seed"]
            for r in fake.drawn
            if r.body["model"] == policy
        }

    assert len(asked("policy-1")) == 6
    assert asked("policy-1") == asked("policy-2")
    assert len(set(asked("policy-1").values())) == 6


async def test_nothing_of_it_is_logged_or_cached(tmp_path):
    async with FakeUpstream(scripted(RIGHT)) as fake:
        for _ in range(2):
            await ask(fake, tmp_path, k=2)

    assert len(fake.drawn) == 4
    assert not [path.name for path in tmp_path.iterdir() if path.name != "prompts.jsonl"]


async def test_an_engine_that_stumbles_is_asked_again(tmp_path):
    stumbling = in_turn(*[error_reply(500, "busy")] * 3, scripted(RIGHT))
    async with FakeUpstream(stumbling) as fake:
        (outcome,) = await ask(fake, tmp_path, k=2)

    assert outcome.pass_at_1 == 1.0


@pytest.mark.parametrize(("failures", "answered"), [(2, 1), (1_000, 0)])
async def test_verifiers_that_a_busy_machine_could_not_prepare_are_tried_again(
    tmp_path, monkeypatch, failures, answered
):
    refusals = iter([BadCheck("could not be prepared within 500 ms")] * failures)
    monkeypatch.setattr("app.evaluate.WAITS_S", (0.0,) * 4)
    async with FakeUpstream(scripted(RIGHT)) as fake:
        prompts = held_out_of_file(prompts_file(tmp_path, *sums(1)), "main")
        async with bare_rim(settings_for(tmp_path, fake.url)) as rim:
            prepare = rim.runner.prepare

            async def stumbling(*arguments: Any) -> Any:
                if (refusal := next(refusals, None)) is not None:
                    raise refusal
                return await prepare(*arguments)

            monkeypatch.setattr(rim.runner, "prepare", stumbling)
            outcomes = await evaluate(rim, prompts, "m", 2, seed=3)

    assert len(outcomes) == answered


async def test_a_policy_that_the_server_does_not_know_fails_at_once_and_is_named(tmp_path):
    async with FakeUpstream(lambda request: error_reply(404, "no such model")) as fake:
        with pytest.raises(EngineError, match="policy-9 did not answer a held-out prompt"):
            await ask(fake, tmp_path, "policy-9", rows=4)

    assert len(fake.drawn) <= 4 * 3


@pytest.mark.parametrize(("room", "most"), [(8, 1), (40, 4)])
async def test_no_more_is_asked_at_once_than_half_of_what_the_engine_has_room_for(
    tmp_path, room, most
):
    slow, sockets = scripted(RIGHT, word_s=0.02), []

    def watched(request: Request) -> Steps:
        sockets.append(fake.open_sockets)
        return slow(request)

    async with FakeUpstream(watched) as fake:
        main = {"base_url": fake.url, "max_inflight": room}
        prompts = held_out_of_file(prompts_file(tmp_path, *sums(12)), "main")
        async with bare_rim(settings_for(tmp_path, fake.url, engines={"main": main})) as rim:
            outcomes = await evaluate(rim, prompts, "m", 4, seed=0)

    assert len(outcomes) == 12
    # Each call in flight has a socket of its own: one for the samples, one for the greedy answer.
    assert max(sockets) == 2 * most


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": "Hi"', "line 1 is not JSON"),
        ("[1]", "line 1 is not a JSON object"),
        ('{"prompt": "Hi", "verifer": []}', "'verifer' is not known"),
        ('{"verifiers": []}', "give 'prompt', a text, or 'messages'"),
        ('{"prompt": 7}', "give 'prompt', a text, or 'messages'"),
        ('{"prompt": "Hi", "verifiers": ["number"]}', "'verifiers' must be a list"),
        ('{"prompt": "Hi", "max_tokens": 0}', "'max_tokens' must be an integer from 1"),
    ],
)
def test_a_line_that_cannot_be_meant_is_named(tmp_path, line, said):
    file = tmp_path / "prompts.jsonl"
    file.write_text(line + "\n")

    with pytest.raises(ConfigError, match=said):
        held_out_of_file(file, "main")


async def test_the_logs_own_held_out_prompts_are_the_newest_of_each_cluster(tmp_path):
    url = f"sqlite+aiosqlite:///{tmp_path / 'verivote.db'}"
    await schema.upgrade(url)
    store = SqlStore(url, tmp_path / "spool.db", clock=lambda: START + 3_600.0)
    await store.start()
    groups: list[Group] = [logged(n).group for n in range(120)]
    for group in groups:
        await store.append(group)
    await store.close()
    database = open_engine(url)

    found = await held_out_of_log(database, groups[0].plan.engine, most=100)
    one = await held_out_of_log(database, groups[0].plan.engine, most=1)
    await database.dispose()

    ids = [each.task.trace_id for each in found]
    assert 1 <= len(ids) < 60
    assert ids == sorted(ids, reverse=True)
    assert len({each.cluster for each in found}) == len(ids)
    assert [each.task.trace_id for each in one] == ids[:1]


def completion_of(spec: VerifierSpec) -> str:
    """What a model that gets it right would say."""
    reference = spec.options["reference"]
    if spec.use == "json_equal":
        return json.dumps(reference)
    said = ", ".join(reference) if isinstance(reference, list) else reference
    return f"Answer: {said}"


def test_the_public_set_never_changes():
    assert hashlib.sha256(PUBLIC.read_bytes()).hexdigest() == (
        "c5244231a76c36c0a2182db468eb69857822aacff4d199581ba31bbef074a786"
    )


@pytest.mark.parametrize("is_right", [True, False])
async def test_every_prompt_of_the_public_set_can_be_proven_right_and_wrong(tmp_path, is_right):
    prompts: tuple[HeldOut, ...] = held_out_of_file(PUBLIC, "main")
    right = {each.task.prompt(): completion_of(each.task.options.verifiers[0]) for each in prompts}

    def say(request: Request) -> Steps:
        text = right[request.body["messages"][0]["content"]]
        return scripted(text if is_right else "Answer: no idea")(request)

    async with FakeUpstream(say) as fake, bare_rim(settings_for(tmp_path, fake.url)) as rim:
        outcomes = await evaluate(rim, prompts, "m", 1, seed=0)

    assert len({outcome.cluster for outcome in outcomes}) == len(prompts) == 78
    assert {outcome.pass_at_1 for outcome in outcomes} == {float(is_right)}
    assert {outcome.slices["slice"] for outcome in outcomes} == {
        "sums",
        "stories",
        "choices",
        "json",
        "lists",
        "dates",
    }
