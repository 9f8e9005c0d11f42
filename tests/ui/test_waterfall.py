from __future__ import annotations

from app.ui.waterfall import waterfall
from tests.ui.sample_groups import cached, every_group, failed, split_vote


def test_steps_come_in_the_order_they_began():
    assert [step.name for step in waterfall(split_vote()).steps] == [
        "Look in the cache",
        "Choose the route",
        "Candidate 1",
        "Candidate 2",
        "Candidate 3",
        "Count and decide",
    ]


def test_queueing_stands_apart_from_work():
    step = waterfall(split_vote()).steps[2]

    assert (step.queued, step.took) == ("0.4 ms", "240 ms")
    assert [part.kind for part in step.segments] == ["first", "draw", "wait", "verify"]
    assert step.detail == "first token after 60 ms, calculator 0.8 ms"


def test_ticks_span_the_whole_request():
    assert waterfall(split_vote()).ticks == ("0", "89 ms", "178 ms", "267 ms", "356 ms")


def test_a_cached_answer_does_not_show_times_of_another_request():
    page = waterfall(cached())

    assert (page.steps, page.total) == ((), "1.3 ms")


def test_a_failed_call_shows_where_the_time_went():
    steps = waterfall(failed()).steps

    assert [step.name for step in steps] == ["Choose the route", "Call to main"]
    assert steps[1].detail == "failed after 3 attempts: upstream_unavailable"


def test_no_segment_leaves_the_picture():
    parts = [p for g in every_group() for s in waterfall(g).steps for p in s.segments]

    assert parts
    assert all(part.x >= 0 and part.x + part.width <= 100.001 for part in parts)
