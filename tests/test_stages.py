"""Routes, cascades and programs on the path of a request: two engines on sockets, one gateway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from app.api.completion import error_of
from app.cache.memory import MemoryCache
from app.engines.openai import OpenAIEngine
from app.engines.wire import PROGRAM_WANTED
from app.gateway import Rim, answer, open_task
from app.group import Group
from app.main import make_routes
from app.plan import Plan, VoteWeights
from app.settings import Settings, load_settings
from app.store.sql import SqlStore
from app.task import Options, Task
from app.voting.confidence import Calibration, Evidence, fit_calibration
from tests.builders import a_task
from tests.fakes.upstream import (
    HOLD,
    Behaviour,
    Cut,
    FakeUpstream,
    Request,
    Steps,
    chunk,
    error_reply,
    events,
    holding,
    in_turn,
    model_list,
    piece,
    scripted,
)
from verifiers.base import VerifierSpec
from verifiers.run import Runner

WORDS = "Tom has 5 apples and buys 7 more. How many apples does Tom have?"
SPLIT = ("11", "12", "13", "14")
"""No answer ever gets ahead."""


@dataclass(frozen=True)
class House:
    """A gateway with a small and a big model behind it."""

    rim: Rim
    small: FakeUpstream
    big: FakeUpstream


def cascade(**more: Any) -> dict[str, Any]:
    return {"name": "sums", "fallback": "big", "effort": "low", **more}


def settings_of(small: str, big: str, tmp_path: Path, routes: list[dict[str, Any]]) -> Settings:
    flags = {
        "engines": {
            "main": {"base_url": small, "retries": 0, "connect_s": 0.5},
            "large": {"base_url": big, "retries": 0, "connect_s": 0.5},
        },
        "aliases": {"auto": "main", "big": "large"},
        "routes": routes,
        "data": tmp_path,
    }
    return load_settings(environ={}, flags=flags)


@asynccontextmanager
async def house(
    small: Behaviour, big: Behaviour, tmp_path: Path, *routes: dict[str, Any]
) -> AsyncIterator[House]:
    async with (
        FakeUpstream(small, lambda _: model_list("small-1")) as fake,
        FakeUpstream(big, lambda _: model_list("big-1")) as large,
    ):
        settings = settings_of(fake.url, large.url, tmp_path, list(routes or [cascade()]))
        url = f"sqlite+aiosqlite:///{tmp_path}/t.db"
        store = SqlStore(url, tmp_path / "spool.db", clock=time.time)
        engines = {name: OpenAIEngine(each, name) for name, each in settings.engines.items()}
        rim = Rim(
            settings=settings,
            engines=engines,
            runner=Runner(),
            cache=MemoryCache(ttl_s=60, max_bytes=2**20, clock=time.time),
            store=store,
            routes=make_routes(settings),
        )
        parts = (store, rim.runner, *engines.values())
        for part in parts:
            await part.start()
        try:
            yield House(rim, fake, large)
        finally:
            for part in reversed(parts):
                await part.close()


def asked(prompt: str = WORDS, number: int = 0, **changes: Any) -> Task:
    trace_id = f"chatcmpl-01JE{number:022d}"
    return a_task(prompt, trace_id=trace_id, received_at=time.time(), **changes)


async def answered(rim: Rim, task: Task) -> Group:
    return await answer(await open_task(task, rim), rim)


async def test_a_split_vote_of_the_small_model_is_answered_by_the_big_one(tmp_path):
    async with house(scripted(*SPLIT), scripted("12"), tmp_path) as at:
        group = await answered(at.rim, asked())
        kept = await at.rim.store.get(group.trace_id)

    (first,) = group.earlier
    assert (first.plan.policy, first.decision.stop_reason) == ("small-1", "cap")
    assert (group.plan.policy, group.plan.engine) == ("big-1", "large")
    assert (group.decision.status, group.winner.answer.key) == ("agreed", "12")
    assert dict(group.tally.votes) == {"12": 3}
    assert [s.sample.stage for s in group.scored] == [0] * 8 + [1] * 3
    assert kept == group


async def test_both_stages_are_paid_for_and_told(tmp_path):
    async with house(scripted(*SPLIT), scripted("12"), tmp_path) as at:
        group = await answered(at.rim, asked())

    assert len({s.sample.index for s in group.scored}) == len(group.scored) == 11
    assert len({call.index for call in group.calls}) == len(group.calls)
    assert {call.engine for call in group.calls} == {"main", "large"}
    assert group.usage().prompt_tokens == 7 * len(group.calls)
    assert group.usage().completion_tokens == 11
    assert [span.name for span in group.spans if span.name == "fallback"] == ["fallback"]
    assert [span.name for span in group.spans].count("decide") == 2


@pytest.mark.parametrize(
    ("prompt", "said"),
    [(WORDS, ("12",)), ("What is 6 * 7?", ("41", "42")), ("Hi", ("Hello",))],
    ids=["agreed", "verified", "nothing_to_decide"],
)
async def test_the_big_model_is_not_asked_where_the_small_one_settles_it(tmp_path, prompt, said):
    async with house(scripted(*said), scripted("no"), tmp_path) as at:
        group = await answered(at.rim, asked(prompt))

        assert at.big.drawn == []
        assert (group.earlier, group.plan.policy, group.degraded) == ((), "small-1", ())


async def test_the_fallback_is_checked_by_the_same_verifiers(tmp_path):
    async with house(scripted("41"), scripted("40", "42"), tmp_path) as at:
        group = await answered(at.rim, asked("What is 6 * 7?"))

    assert (group.decision.status, group.winner.sample.text) == ("verified", "42")
    assert group.earlier[0].decision.status == "unverified"
    assert group.earlier[0].plan.verifiers == group.plan.verifiers


async def test_a_verified_answer_of_the_fallback_is_served_again_with_its_own_policy(tmp_path):
    async with house(scripted("41"), scripted("42"), tmp_path) as at:
        await answered(at.rim, asked("What is 6 * 7?", 1))
        drawn = len(at.small.drawn), len(at.big.drawn)
        again = await answered(at.rim, asked("What is 6 * 7?", 2))

        assert again.cache.hit
        assert (len(at.small.drawn), len(at.big.drawn)) == drawn
        assert (again.plan.policy, again.winner.sample.text) == ("big-1", "42")


async def test_a_small_model_that_is_down_is_stood_in_for(tmp_path):
    async with house(lambda _: error_reply(500, "out of memory"), scripted("12"), tmp_path) as at:
        group = await answered(at.rim, asked())

    assert group.error is None
    assert (group.decision.status, group.plan.policy) == ("agreed", "big-1")
    assert group.earlier[0].decision.stop_reason == "engine"
    assert [call.error for call in group.calls] == ["upstream_error", ""]


@pytest.mark.parametrize(
    "fault",
    [
        lambda _: error_reply(500, "out of memory"),
        lambda _: error_reply(429, "slow down", param=None),
        lambda _: error_reply(400, "context too long"),
        lambda _: Steps((b"not json",)),
        lambda _: Steps((Cut(reset=True),), content_type="text/event-stream"),
        scripted("1", finish="length"),
        scripted("I cannot say."),
    ],
    ids=["down", "rate_limited", "refused", "garbage", "reset", "truncated", "no_answer"],
)
async def test_the_first_answer_is_served_when_the_fallback_has_none(tmp_path, fault):
    small = scripted("11", "11", "12", "12", "13")
    async with house(small, fault, tmp_path) as at:
        group = await answered(at.rim, asked())
        kept = await at.rim.store.get(group.trace_id)

    assert group.error is None
    assert (group.plan.policy, group.earlier) == ("small-1", ())
    assert group.winner.answer.key == "11"
    assert group.decision.stop_reason == "ahead"
    assert "fallback" in group.degraded
    assert {call.engine for call in group.calls} == {"main", "large"}
    assert all(scored.sample.stage == 0 for scored in group.current)
    assert kept == group


async def test_a_fallback_that_nobody_serves_is_no_traceback(tmp_path):
    async with house(scripted(*SPLIT), scripted("12"), tmp_path) as at:
        await at.big.__aexit__()
        group = await answered(at.rim, asked())

    assert (group.degraded, group.plan.policy) == (("fallback",), "small-1")


async def test_when_both_fail_the_client_is_told_of_the_first(tmp_path):
    down = error_reply(500, "out of memory")
    async with house(lambda _: down, holding(), tmp_path) as at:
        group = await answered(at.rim, asked(options=Options(deadline_ms=600)))

    assert (group.error.code, group.error.status) == ("upstream_error", 502)
    assert (group.decision.winner, group.degraded) == (None, ("fallback",))


async def test_a_slow_fallback_ends_at_the_deadline_and_the_first_answer_is_served(tmp_path):
    async with house(scripted(*SPLIT), holding(), tmp_path) as at:
        group = await answered(at.rim, asked(options=Options(deadline_ms=800)))
        closed = await at.big.until(lambda: at.big.open_sockets == 0, within_s=1)

    assert (group.error, group.degraded) == (None, ("fallback",))
    assert group.winner.sample.text in SPLIT
    assert closed


async def test_a_fallback_cut_by_the_deadline_answers_with_what_came(tmp_path):
    big = events(chunk(piece("12", index=0, finish="stop")), HOLD)
    async with house(scripted(*SPLIT), lambda _: big, tmp_path) as at:
        group = await answered(at.rim, asked(options=Options(deadline_ms=800)))

    assert (group.winner.answer.key, group.plan.policy) == ("12", "big-1")
    assert (group.decision.stop_reason, group.degraded) == ("deadline", ("deadline",))


async def test_a_slow_small_model_leaves_half_of_the_time_to_the_big_one(tmp_path):
    async with house(holding(), scripted("12"), tmp_path) as at:
        group = await answered(at.rim, asked(options=Options(deadline_ms=1_000)))

        assert await at.small.until(lambda: at.small.open_sockets == 0, within_s=1)
    assert group.earlier[0].decision.stop_reason == "deadline"
    assert (group.decision.status, group.degraded) == ("agreed", ())


async def test_a_client_that_leaves_in_the_second_stage_closes_every_socket(tmp_path):
    async with house(scripted(*SPLIT), holding(), tmp_path) as at:
        opened = await open_task(asked(), at.rim)
        answering = asyncio.create_task(answer(opened, at.rim))
        assert await at.big.until(lambda: len(at.big.drawn) > 0)
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering
        closed = await at.big.until(lambda: at.big.open_sockets == 0, within_s=1)
        kept = await at.rim.store.get(opened.task.trace_id)

    assert closed
    assert kept.error.code == "client_closed_request"
    assert (kept.stage, kept.earlier[0].plan.policy) == (1, "small-1")
    assert len(kept.scored) == 8


async def test_a_client_that_leaves_between_the_stages_is_logged(tmp_path):
    """The fallback's model list is asked for once the first stage has fallen short."""
    async with house(scripted(*SPLIT), scripted("12"), tmp_path) as at:
        at.big.models = holding()
        opened = await open_task(asked(), at.rim)
        answering = asyncio.create_task(answer(opened, at.rim))
        assert await at.big.until(lambda: len(at.big.requests) > 0)
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering
        kept = await at.rim.store.get(opened.task.trace_id)

    assert kept.error.code == "client_closed_request"
    assert len(kept.scored) == 8


async def test_a_live_sample_goes_to_the_fallback_only_before_its_first_piece(tmp_path):
    cut = events(chunk(piece("Once ")), done=False)
    small = in_turn(
        error_reply(500, "down"), Steps((*cut.steps, Cut()), content_type=cut.content_type)
    )
    async with house(small, scripted("Upon a time"), tmp_path) as at:
        unseen = await answered(at.rim, asked("Write a poem.", 1))
        seen = await answered(at.rim, asked("Write a poem.", 2))

    assert (unseen.winner.sample.text, unseen.plan.live) == ("Upon a time", True)
    assert seen.error is not None
    assert (seen.earlier, len(seen.scored)) == ((), 1)


async def test_a_route_adds_verifiers_and_a_misfit_of_them_refuses_nobody(tmp_path):
    adds = {
        "name": "sums",
        "verifiers": [{"use": "number", "reference": "12"}, {"use": "json_schema"}],
    }
    async with house(scripted("11", "12"), scripted("no"), tmp_path, adds) as at:
        group = await answered(at.rim, asked())

    assert {ref.name: ref.source for ref in group.plan.verifiers} == {
        "number": "route",
        "json_schema": "route",
    }
    said = {verdict.verifier: verdict.status for verdict in group.winner.verdicts}
    assert said == {"number": "pass", "json_schema": "error"}
    assert group.plan.route_name == "sums"


async def test_the_requests_options_win_over_its_routes(tmp_path):
    route = cascade(rule="fixed", effort="high", on_unverified="error")
    mine = Options(effort="low", rule="margin", asked=("effort",))
    async with house(scripted("12"), scripted("no"), tmp_path, route) as at:
        group = await answered(at.rim, asked(options=mine))

    assert (group.plan.cap, group.plan.rule) == (8, "fixed")
    assert group.task.options.on_unverified == "error"
    assert len(group.scored) == 8


@pytest.mark.parametrize(
    ("policy", "engine", "model"),
    [("policy-3", "main", "policy-3"), ("big", "large", "big-1")],
    ids=["a_model_of_the_engine", "an_alias"],
)
async def test_a_route_says_which_policy_is_asked(tmp_path, policy, engine, model):
    async with house(
        scripted("12"), scripted("12"), tmp_path, {"name": "a", "policy": policy}
    ) as at:
        group = await answered(at.rim, asked())
        asked_for = at.small if engine == "main" else at.big

        assert (group.plan.engine, group.plan.policy) == (engine, model)
        assert {request.body["model"] for request in asked_for.drawn} == {model}


async def test_a_model_that_the_client_named_itself_is_kept(tmp_path):
    async with house(
        scripted("12"), scripted("12"), tmp_path, {"name": "a", "policy": "big"}
    ) as at:
        group = await answered(at.rim, asked(upstream_model="small-1"))

    assert (group.plan.engine, group.plan.policy) == ("main", "small-1")


def learned(rim: Rim, **right: float) -> Rim:
    """What three samples of three are worth, by the share of them that was right for a policy."""
    found: dict[str, Calibration] = {}
    for policy, share in right.items():
        unanimous = Evidence(n=3, a=3, b=0, distinct=1, nulls=0)
        pairs = [(unanimous, place < 300 * share) for place in range(300)]
        found[policy] = fit_calibration(pairs, route="sums", policy=policy)

    class Learned:
        def difficulty_for(self, route_name: str) -> None:
            return None

        def calibration_for(self, plan: Plan) -> Calibration | None:
            return found.get(plan.policy.replace("-1", ""))

    return replace(rim, learning=Learned())


async def test_an_agreement_that_is_not_sure_enough_for_its_route_is_sent_on(tmp_path):
    async with house(scripted("11"), scripted("12"), tmp_path, cascade(max_error=0.05)) as at:
        group = await answered(learned(at.rim, small=0.6, big=1.0), asked())

    first = group.earlier[0].decision
    assert (first.stop_reason, first.abstained) == ("margin", True)
    assert first.confidence == pytest.approx(0.6, abs=0.05)
    assert (group.decision.status, group.decision.abstained) == ("agreed", False)
    assert group.decision.confidence > 0.95


async def test_an_agreement_that_is_sure_enough_is_served(tmp_path):
    async with house(scripted("11"), scripted("12"), tmp_path, cascade(max_error=0.05)) as at:
        group = await answered(learned(at.rim, small=1.0), asked())

        assert at.big.drawn == []
    assert (group.decision.status, group.earlier) == ("agreed", ())
    assert group.decision.confidence > 0.95


async def test_a_route_that_has_learned_nothing_can_promise_nothing(tmp_path):
    async with house(scripted("11"), scripted("12"), tmp_path, cascade(max_error=0.05)) as at:
        group = await answered(at.rim, asked())

    assert [s.decision.abstained for s in group.earlier] == [True]
    assert (group.decision.status, group.decision.abstained) == ("unverified", True)
    assert group.decision.confidence is None


WORKING = "5 apples and 7 more apples are 12 apples in all. Answer: 12"
WEIGHTS = VoteWeights(scorer="length", slope=3.0, auc=0.8, questions=60)


def weighing(rim: Rim, *policies: str) -> Rim:
    """Longer workings were right more often under these policies."""
    calibration = replace(fit_calibration([]), weights=WEIGHTS)

    class Learned:
        def difficulty_for(self, route_name: str) -> None:
            return None

        def calibration_for(self, plan: Plan) -> Calibration | None:
            return calibration if plan.policy in policies else None

    return replace(rim, learning=Learned())


async def test_votes_weigh_what_the_route_has_learned_and_the_plan_says_so(tmp_path):
    """Of two answers with two votes each, the one with its working is three votes ahead."""
    said = scripted("11", WORKING, "11", WORKING)
    async with house(said, scripted("no"), tmp_path, {"name": "sums", "effort": "low"}) as at:
        group = await answered(weighing(at.rim, "small-1"), asked())

    assert group.plan.weights == WEIGHTS
    assert [r.value for r in group.plan.reasons if r.feature == "votes_weighed_by"] == ["length"]
    assert dict(group.tally.votes) == {"12": 2, "11": 2}
    assert (group.tally.leader, group.tally.margin, group.tally.lead) == ("12", 0, 3.0)
    assert (group.decision.status, group.decision.stop_reason) == ("agreed", "margin")
    assert Group.from_json(group.to_json()) == group


async def test_each_stage_has_the_weights_of_its_own_policy(tmp_path):
    async with house(scripted(*SPLIT), scripted("12"), tmp_path, cascade()) as at:
        group = await answered(weighing(at.rim, "big-1"), asked())

    assert (group.earlier[0].plan.weights, group.plan.weights) == (None, WEIGHTS)


def solving(texts: Behaviour, programs: Behaviour) -> Behaviour:
    """A model that writes a program where it is asked for one."""

    def reply(request: Request) -> Steps:
        wanted = PROGRAM_WANTED in request.body["messages"][-1]["content"]
        return (programs if wanted else texts)(request)

    return reply


def fenced(source: str) -> str:
    return f"```python\n{source}\n```"


TWO_KINDS = {"name": "sums", "rule": "two_kinds", "effort": "low"}


async def test_a_text_and_a_program_that_agree_settle_it_with_two_samples(tmp_path):
    both = solving(scripted("It is 12."), scripted(fenced("print(5 + 7)")))
    async with house(both, scripted("no"), tmp_path, TWO_KINDS) as at:
        group = await answered(at.rim, asked())

    assert sorted(scored.sample.kind for scored in group.scored) == ["program", "text"]
    assert dict(group.tally.votes) == {"12": 2}
    assert (group.decision.status, group.decision.stop_reason) == ("agreed", "two_kinds")
    assert group.winner.sample.text == "It is 12."
    assert len(at.small.drawn) == 2


async def test_programs_that_fail_cost_and_do_not_vote(tmp_path):
    both = solving(scripted("It is 12."), scripted(fenced("1 / 0"), "No program today."))
    async with house(both, scripted("no"), tmp_path, TWO_KINDS) as at:
        group = await answered(at.rim, asked())

    programs = [s for s in group.scored if s.sample.kind == "program"]
    assert (group.decision.status, group.decision.stop_reason) == ("agreed", "margin")
    assert dict(group.tally.votes) == {"12": 3}
    assert {p.answer.reason for p in programs} <= {
        "program_raised: ZeroDivisionError",
        "no_program",
    }
    assert programs
    assert group.winner.sample.kind == "text"


async def test_the_served_answer_is_never_a_program(tmp_path):
    """Where only programs ended, what they printed is served; where none ran, nothing is."""
    runs = solving(lambda _: error_reply(500, "no"), scripted(fenced("print(12)")))
    fails = solving(lambda _: error_reply(500, "no"), scripted(fenced("1 / 0")))
    async with house(runs, scripted("no"), tmp_path, TWO_KINDS) as at:
        printed = await answered(at.rim, asked(number=1))
        at.small.completions = fails
        nothing = await answered(at.rim, asked(number=2))

    assert printed.winner.sample.text == "12"
    assert nothing.decision.winner is None
    assert error_of(nothing).http_status == 502


async def test_a_verifier_judges_what_a_program_printed(tmp_path):
    spec = VerifierSpec(use="number", options={"reference": "12"}, param="verify.verifiers[0]")
    both = solving(scripted("It is 13."), scripted(fenced("print(12)")))
    async with house(both, scripted("no"), tmp_path, TWO_KINDS) as at:
        group = await answered(at.rim, asked(options=Options(verifiers=(spec,))))

    assert (group.decision.status, group.winner.sample.text) == ("verified", "12")
    assert group.winner.sample.raw_text == fenced("print(12)")


async def test_a_cascade_of_two_kinds_asks_the_big_model_for_programs_too(tmp_path):
    small = solving(scripted(*SPLIT), scripted(*(fenced(f"print({n})") for n in range(20, 40))))
    big = solving(scripted("12"), scripted(fenced("print(12)")))
    async with house(small, big, tmp_path, cascade(rule="two_kinds")) as at:
        group = await answered(at.rim, asked())

    assert (group.decision.stop_reason, group.plan.policy) == ("two_kinds", "big-1")
    assert {s.sample.kind for s in group.current} == {"text", "program"}
