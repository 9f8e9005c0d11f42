"""A route that learns: when it watches, when it decides, when it starts over."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from app.routing.gate import JUDGED_ON, MIN_LABELS
from app.routing.model import IN_A_ROW, RouteModel
from tests.routing.planted import START, an_example, easy_prompt, features_of, hard_prompt, planted

ENOUGH = MIN_LABELS + 100
NUMBERS = features_of("How many?")


def taught(*lessons, model: RouteModel | None = None) -> RouteModel:
    model = model or RouteModel()
    for lesson in lessons:
        for example in lesson:
            model.learn(example)
    return model


def asked(model: RouteModel, max_loss: float = 0.01):
    return model.to_model("default", 1, max_loss=max_loss)


def test_it_watches_until_it_has_seen_enough_and_then_decides():
    assert asked(taught(planted(MIN_LABELS - 10))).standing == "shadow"

    model = asked(taught(planted(ENOUGH)))

    assert model.standing == "learned"
    assert model.auc > 0.8
    assert model.labels == ENOUGH


def test_once_it_decides_easy_tasks_fall_below_the_cut_and_hard_ones_do_not():
    model, draw = asked(taught(planted(ENOUGH))), random.Random(7)
    easy = [model.judge(features_of(easy_prompt(draw))) for _ in range(100)]
    hard = [model.judge(features_of(hard_prompt(draw))) for _ in range(100)]

    assert sum(j.rank < j.share for j in easy) > 50
    assert not any(j.rank < j.share for j in hard)
    assert max(j.expected_gain for j in easy) < 0.1 < min(j.expected_gain for j in hard)


def test_a_task_that_is_always_won_or_lost_has_nothing_to_gain():
    """Hard for the model, and voting does not help: one sample is as good."""
    draw = random.Random(0)
    lesson = [
        an_example(hard_prompt(draw) if n % 2 else easy_prompt(draw), 0.4 * (n % 2 == 0))
        for n in range(ENOUGH)
    ]
    model = asked(taught(lesson))

    judged = model.judge(features_of(hard_prompt(draw)))
    assert model.standing == "learned"
    assert judged.rank < judged.share


def test_words_that_say_nothing_keep_it_watching():
    draw = random.Random(1)
    noise = [an_example(easy_prompt(draw), draw.choice((0.0, 0.5))) for _ in range(ENOUGH)]

    assert asked(taught(noise)).standing == "shadow"


def test_it_does_not_decide_where_even_the_easiest_would_lose_too_much():
    draw = random.Random(2)
    lesson = [
        an_example(hard_prompt(draw), 0.7)
        if n % 2
        else an_example(easy_prompt(draw), 0.3 * (n % 4 == 0))
        for n in range(ENOUGH)
    ]
    model = taught(lesson)

    assert asked(model).standing == "shadow"
    assert asked(model, max_loss=0.5).standing == "learned"
    assert asked(taught(planted(ENOUGH)), max_loss=0.0).standing == "shadow"


def test_what_was_learned_where_a_verifier_looks_is_not_used_where_none_does():
    draw = random.Random(8)
    lesson = []
    for example in planted(ENOUGH):
        lesson.append(replace(example, features=replace(example.features, decisive=True)))
    model = asked(taught(lesson))
    bare = features_of(easy_prompt(draw))
    checked = features_of(easy_prompt(draw), decisive=True)

    assert model.standing == "learned"
    assert model.standing_for(checked, "smol") == "learned"
    assert model.standing_for(bare, "smol") == "shadow"
    assert model.judge(bare).share == 0


def test_the_same_log_gives_the_same_state_to_the_last_bit():
    """Learned in one go, or by gateways that take turns and keep their state in between."""
    lesson, model = list(planted(300)), RouteModel()
    for start in range(0, len(lesson), 7):
        state = json.loads(json.dumps(model.to_state()))
        model = taught(lesson[start : start + 7], model=RouteModel.from_state(state))

    assert model.to_state() == taught(lesson).to_state()


def test_a_drift_of_the_pass_rate_makes_it_watch_until_two_hundred_new_labels():
    model = taught(planted(ENOUGH))
    drawn = taught(planted(120, seed=1, passed=False), model=model)

    assert asked(drawn).standing == "drift"
    assert len(drawn.points) < 120

    again = taught(planted(JUDGED_ON, seed=2, passed=False), model=drawn)
    assert asked(again).standing == "learned"


def test_another_policy_makes_it_watch_and_one_stray_answer_does_not():
    model = taught(planted(ENOUGH), planted(IN_A_ROW - 1, seed=1, policy="new"))
    assert asked(model).standing_for(NUMBERS, "smol") == "learned"
    assert asked(model).standing_for(NUMBERS, "new") == "promotion"

    taught(planted(1, seed=2), planted(IN_A_ROW, seed=3, policy="new"), model=model)
    assert (model.policy, model.standing) == ("new", "promotion")
    assert asked(model).standing_for(NUMBERS, "smol") == "promotion"

    taught(planted(JUDGED_ON, seed=4, policy="new"), model=model)
    assert asked(model).standing_for(NUMBERS, "new") == "learned"


def test_two_policies_that_take_turns_do_not_make_it_start_over():
    model = taught(planted(ENOUGH))
    for turn in range(30):
        taught(planted(2, seed=turn, policy="other"), planted(2, seed=turn), model=model)

    assert model.starts == 0
    assert asked(model).standing == "learned"


def test_the_pass_rate_of_a_plan_is_that_of_the_last_full_hour():
    model, hour = RouteModel(), 3600
    draw = random.Random(0)

    def learn(at: float, passed: bool) -> None:
        model.learn(an_example(easy_prompt(draw), received_at=START + at, passed=passed))

    start = hour - START % hour
    learn(start, True)
    for minute in range(1, 50):
        learn(start + 60 * minute, minute % 2 == 0)
    assert model.pass_rate is None

    learn(start + hour, True)
    before = model.pass_rate
    assert 0.5 < before < 1
    learn(start + hour + 60, False)
    assert model.pass_rate == before


def test_what_the_group_does_not_tell_is_not_learned():
    model = taught([an_example("How many?", None, passed=True)] * 5)

    assert (model.labels, len(model.points)) == (0, 0)
    assert model.online.to_state()["named"] == {}


@pytest.mark.parametrize("state", [{}, {"form": 2}, {"form": 1}, {"form": 1, "online": 3}])
def test_a_state_of_another_form_is_refused(state):
    with pytest.raises((KeyError, TypeError, ValueError)):
        RouteModel.from_state(state)
