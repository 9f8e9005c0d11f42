"""When each rule has seen enough, and how many samples it asks for at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.group import Group
from app.plan import Draw
from app.sample import SampleKind
from app.task import RuleName
from app.voting.decide import decide
from app.voting.rules import RULES
from app.voting.rules.adaptive import lead_probability
from app.voting.rules.certified import certificate, certified_level, doubt
from app.voting.stop import Stop, next_step, settled_by
from app.voting.tally import tally_votes
from tests.builders import a_group, a_plan, a_scored
from verifiers.base import AnswerContract

COUNTING = [name for name in get_args(RuleName) if name != "fixed"]
answers = st.lists(st.sampled_from(["1", "1", "2", "3", None]), min_size=12, max_size=12)


def voted(*keys: str | None, rule: RuleName, kinds: Sequence[SampleKind] = (), **plan) -> Group:
    """A group whose samples said `keys`, in this order."""
    scored = (a_scored(i, key, kind=kinds[i] if kinds else "text") for i, key in enumerate(keys))
    return a_group(*scored, plan=a_plan(rule=rule, **plan))


def played(keys: Sequence[str | None], *, one_by_one: bool = False, **plan) -> tuple[Group, str]:
    """The group that this stream of answers ends in, as the gateway draws it, and its reason."""
    group = a_group(plan=a_plan(**{"first_round": 1, **plan}))
    stream = iter(keys)
    while isinstance(step := next_step(group, seed=0), Draw):
        n = 1 if one_by_one else step.n
        for left in reversed(range(n)):
            new = a_scored(len(group.scored), next(stream), round=step.round)
            group = group.with_scored(new)
            group = group.with_tally(tally_votes(group.current))
            if settled_by(group, in_flight=left):
                break
    return group, step.reason


def test_every_rule_that_a_plan_can_name_is_there():
    assert set(RULES) == set(get_args(RuleName))


@pytest.mark.parametrize(
    ("rule", "keys", "reason"),
    [
        ("margin", "aaa", "margin"),
        ("margin", "aaba", None),
        ("margin", "abaaa", "margin"),
        ("adaptive", "aaa", None),
        ("adaptive", "aaaa", "adaptive"),
        ("adaptive", "aaaaba", None),
        ("adaptive", "aaaabaa", "adaptive"),
        ("adaptive", "abababa", None),
        ("esc", "aaaa", None),
        ("esc", "aaaaa", "window"),
        ("esc", "baaaaa", None),
        ("esc", "baaaaaaaaa", "window"),
        ("esc", "aaaaab", "window"),
        ("esc", "aa-aa", None),
        ("certified", "a" * 7, None),
        ("certified", "a" * 8, "certified"),
        ("certified", "b" + "a" * 10, None),
        ("certified", "b" + "a" * 11, "certified"),
        ("certified", "bc" + "a" * 11, None),
        ("certified", "bc" + "a" * 12, "certified"),
        ("fixed", "a" * 15, None),
        ("exact", "a" * 8, None),
    ],
)
def test_a_rule_stops_where_its_source_says(rule, keys, reason):
    """4-0, 6-1 for Adaptive-Consistency; whole windows of five; 8-0, 11-1 for PPR-1v1, and more
    where a second rival shares the level."""
    group = voted(*(None if key == "-" else key for key in keys), rule=rule)

    assert RULES[rule].settled(group) == reason


def test_the_probability_of_the_lead_is_the_beta_distributions():
    """Against the integral of the density, by the trapezoid rule."""
    for a, b in [(0, 0), (3, 0), (4, 0), (5, 1), (6, 1), (8, 2), (2, 5)]:
        grid = [i / 20_000 for i in range(20_001)]
        density = [p**a * (1 - p) ** b for p in grid]
        above = sum(density[10_000:]) - density[10_000] / 2

        assert lead_probability(a, b) == pytest.approx(above / sum(density), abs=2e-4)


def test_a_text_and_a_program_that_agree_are_worth_one_vote_more():
    both = voted("a", "a", rule="two_kinds", kinds=("text", "program"))
    same = voted("a", "a", rule="two_kinds", kinds=("text", "text"))

    assert RULES["two_kinds"].settled(both) == "two_kinds"
    assert RULES["two_kinds"].settled(same) is None


def test_only_kinds_that_voted_for_the_leader_count():
    group = voted("a", "b", "a", "a", rule="two_kinds", kinds=("text", "program", "text", "text"))

    assert group.tally.margin == 2
    assert RULES["two_kinds"].settled(group) is None


def test_two_kinds_with_one_kind_is_the_margin():
    group = voted("a", "a", "a", rule="two_kinds")

    assert RULES["two_kinds"].settled(group) == "margin"


@pytest.mark.parametrize(
    ("seed", "drawn"), [(4, [(2, 1), (1, 0), (1, 1)]), (5, [(2, 1), (1, 1), (2, 1)])]
)
def test_texts_and_programs_are_drawn_in_turn_and_the_seed_says_who_begins(seed, drawn):
    """With texts only so far, a program is enough for the leader; a further text is not."""
    plan = {"rule": "two_kinds", "seed": seed, "first_round": 2}

    steps = [next_step(voted(*keys, **plan), seed=0) for keys in ("", "aa", "aba")]

    assert [(step.n, step.programs) for step in steps if isinstance(step, Draw)] == drawn


@pytest.mark.parametrize("rule", [name for name in get_args(RuleName) if name != "two_kinds"])
def test_other_rules_draw_no_programs(rule):
    step = next_step(voted(rule=rule, seed=5), seed=0)

    assert isinstance(step, Draw)
    assert step.programs == 0


@pytest.mark.parametrize(
    ("rule", "first"),
    [
        ("margin", 3),
        ("two_kinds", 2),
        ("adaptive", 4),
        ("esc", 5),
        ("certified", 8),
        ("exact", 9),
        ("fixed", 16),
    ],
)
def test_a_first_round_that_no_vote_could_settle_is_not_drawn(rule, first):
    step = next_step(voted(rule=rule, first_round=1, cap=16), seed=0)

    assert isinstance(step, Draw)
    assert step.n == first


@pytest.mark.parametrize("rule", [name for name in COUNTING if name != "exact"])
@given(st.lists(st.sampled_from(["1", "2", None]), max_size=9), st.booleans())
def test_a_round_is_the_fewest_samples_that_could_settle_the_vote(rule, keys, odd):
    """Every way in which up to four further samples may vote is tried."""
    kinds = [kind_of_position(i, odd) for i in range(30)]
    group = voted(*keys, rule=rule, kinds=kinds, seed=int(odd))
    if RULES[rule].settled(group):
        return
    needed = RULES[rule].needed(group)

    def settles(more: Sequence[str]) -> bool:
        after = voted(*keys, *more, rule=rule, kinds=kinds, seed=int(odd))
        return RULES[rule].settled(after) is not None

    assert any(settles([key] * needed) for key in "12")
    for fewer in range(1, min(needed, 5)):
        assert not any(settles(more) for more in itertools.product("123", repeat=fewer))


def kind_of_position(position: int, odd: bool) -> SampleKind:
    return "program" if (position + odd) % 2 else "text"


@pytest.mark.parametrize("rule", COUNTING)
@given(answers, st.integers(1, 12))
def test_rounds_never_cost_more_than_drawing_one_by_one(rule, keys, cap):
    together, _ = played(keys, rule=rule, cap=cap)
    alone, _ = played(keys, rule=rule, cap=cap, one_by_one=True)

    assert len(together.scored) == len(alone.scored)


@pytest.mark.parametrize("rule", COUNTING)
@given(answers, st.integers(1, 12))
def test_a_leader_that_cannot_be_overtaken_stops(rule, keys, cap):
    """No prefix at which the rest of the cap could not change the leader is drawn on from."""
    group, reason = played(keys, rule=rule, cap=cap)

    for drawn in range(1, len(group.scored)):
        earlier = tally_votes(group.scored[:drawn])
        assert earlier.margin <= cap - drawn
    if group.tally.margin > cap - len(group.scored) > 0:
        assert reason != "cap"


@given(answers, st.integers(1, 12))
def test_exact_gives_the_answer_of_fixed_at_no_more_samples(keys, cap):
    exact, _ = played(keys, rule="exact", cap=cap)
    fixed, reason = played(keys, rule="fixed", cap=cap)

    ours, theirs = (g.with_decision(decide(g, "")).winner for g in (exact, fixed))
    assert reason == "cap"
    assert len(exact.scored) <= len(fixed.scored) == cap
    assert ours is not None
    assert theirs is not None
    assert ours.answer.key == theirs.answer.key


@given(answers, st.integers(1, 11))
def test_more_budget_never_lowers_the_certified_level(keys, cap):
    less, _ = played(keys, rule="certified", cap=cap)
    more, _ = played(keys, rule="certified", cap=cap + 1)

    assert certificate(more).level >= certificate(less).level


@given(st.lists(st.sampled_from(["1", "2", "3"]), max_size=14))
def test_a_certified_leader_is_the_one_that_the_certificate_names(keys):
    group = voted(*keys, rule="certified")
    if certified_level(group.tally) >= 0.95:
        assert certificate(group).answer == group.tally.leader


def test_a_closed_list_of_answers_shares_the_level_among_all_of_them():
    contract = AnswerContract(kind="choice", choices=tuple("ABCDE"))
    group = voted(*"AAAAAAAA", rule="certified", contract=contract)

    assert RULES["certified"].settled(group) is None
    assert certified_level(group.tally, choices=5) == pytest.approx(1 - 4 * doubt(8, 0))


def test_a_certificate_is_wrong_as_seldom_as_it_says():
    """Over all streams of ten votes between two answers of which the second is likelier."""
    wrong = 0.0
    for votes in itertools.product("ab", repeat=10):
        p = 0.45 ** votes.count("a") * 0.55 ** votes.count("b")
        counts = {"a": 0, "b": 0}
        for vote in votes:
            counts[vote] += 1
            if counts["a"] > counts["b"] and doubt(counts["a"], counts["b"]) <= 0.05:
                wrong += p
                break

    assert wrong <= 0.05


def test_samples_that_nobody_waited_for_do_not_unsettle_a_window():
    """A settled round is cut, and what was in flight is added without an answer."""
    lost = (a_scored(5 + i, None, finish_reason=None, cancelled=True) for i in range(3))
    group = voted(*"aaaaa", rule="esc")
    cut = a_group(*group.scored, *lost, plan=group.plan)

    assert next_step(cut, seed=0) == Stop(reason="window")
