"""The model that learns one task at a time."""

from __future__ import annotations

import json
import random

import pytest

from app.routing.online import OnlineModel, inputs_of, logistic
from tests.routing.planted import easy_prompt, features_of, hard_prompt, planted


def inputs(prompt: str):
    return inputs_of(features_of(prompt), None)


def taught(count: int, *, stop_every: int | None = None) -> OnlineModel:
    model = OnlineModel()
    for number, example in enumerate(planted(count)):
        model.learn(inputs_of(example.features, None), example.gain)
        if stop_every and number % stop_every == 0:
            model = OnlineModel.from_state(json.loads(json.dumps(model.to_state())))
    return model


def test_a_new_model_knows_nothing():
    assert OnlineModel().logit(inputs("What is 17 * 24?")) == 0


def test_it_learns_which_words_are_hard():
    model, draw = taught(300), random.Random(99)
    hard = [model.logit(inputs(hard_prompt(draw))) for _ in range(20)]
    easy = [model.logit(inputs(easy_prompt(draw))) for _ in range(20)]

    assert min(hard) > max(easy)


def test_a_soft_target_is_approached_from_both_sides():
    task = inputs("How many shells?")
    for start in (0.0, 1.0):
        model = OnlineModel()
        for _ in range(50):
            model.learn(task, start)
        for _ in range(2000):
            model.learn(task, 0.3)

        assert logistic(model.logit(task)) == pytest.approx(0.3, abs=0.02)


def test_learning_with_a_stop_at_every_task_gives_the_same_weights_to_the_last_bit():
    assert taught(60, stop_every=1).to_state() == taught(60).to_state()


def test_the_parts_add_up_to_the_logit_and_words_are_told_apart():
    model, task = taught(100), inputs("How many ways are there modulo 7?")

    assert sum(model.parts(task).values()) == model.logit(task)
    words = sum(model.part_of(place, task) for place in task.places)
    assert words == pytest.approx(model.parts(task)["text"])


def test_only_weights_that_moved_are_kept():
    model = OnlineModel()
    model.learn(inputs("How many shells?"), 1.0)

    assert len(json.dumps(model.to_state())) < 1500


def test_a_prompt_without_words_has_a_score():
    model = OnlineModel()
    model.learn(inputs(""), 1.0)

    assert model.logit(inputs("")) > 0


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"named": {}, "places": "!", "weights": "", "squares": ""},
        {"named": {}, "places": "AAAAAA==", "weights": "", "squares": ""},
        {"named": {}, "places": "/////w==", "weights": "AAAAAA==", "squares": "AAAAAA=="},
        {"named": {"bias": 1}, "places": "", "weights": "", "squares": ""},
    ],
)
def test_a_state_that_is_none_is_refused(broken):
    with pytest.raises((KeyError, TypeError, ValueError, IndexError)):
        OnlineModel.from_state(broken)
