"""One question in one order: the same answer and cost as drawing it would have had."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean

import pytest

from app.replay.play import Played, Setting, play
from app.replay.rows import Recorded, Row, traits_of
from app.task import RuleName
from tests.replay.recorded import a_recording, a_row, questions


def played(row: Row, order: int = 0, **setting) -> Played:
    return play(row, traits_of(a_recording(row)), Setting(**setting), order)


def test_three_that_agree_are_one_round_of_three():
    found = played(a_row(["1"] * 10, tokens=7))

    assert (found.right, found.reason, found.samples, found.rounds) == (True, "margin", 3, 1)
    assert (found.tokens, found.cancelled, found.nulls) == (21, 0, 0)
    assert (found.evidence.a, found.evidence.n) == (3, 3)


def test_a_question_without_answers_costs_the_cap_and_is_not_right():
    found = played(a_row([None] * 6), cap=5)

    assert (found.right, found.reason, found.samples, found.nulls) == (False, "cap", 5, 5)


def test_the_cap_is_forty_or_what_was_recorded():
    assert played(a_row(["1"] * 60), rule="fixed").samples == 40
    assert played(a_row(["1"] * 60), rule="fixed", cap=50).samples == 50
    assert played(a_row(["1"] * 6), rule="fixed", cap=50).samples == 6


def test_tokens_are_unknown_where_one_sample_does_not_say():
    row = a_row(["1"] * 5, tokens=7)
    one_without = Recorded(answer="1", correct=True)
    mixed = Row(dataset="d", model="m", id="q", samples=(*row.samples, one_without))

    assert played(mixed).tokens is None


def test_equal_seeds_give_every_rule_the_same_order():
    """With one sample of each answer, the first three drawn can be read off the winner."""
    row = a_row([str(i) for i in range(40)], right="7")
    wins = {
        rule: [played(row, order, rule=rule, cap=1).right for order in range(400)]
        for rule in ("margin", "fixed", "esc")
    }

    assert wins["margin"] == wins["fixed"] == wins["esc"]
    assert 0 < sum(wins["margin"]) < 40
    assert wins["margin"] != [played(row, order, cap=1, seed=1).right for order in range(400)]


def test_more_samples_than_the_cap_are_a_random_subset():
    row = a_row(["1"] * 20 + ["2"] * 20)
    firsts = [played(row, order, cap=1).right for order in range(400)]

    assert 140 < sum(firsts) < 260


def test_a_verified_sample_ends_it_and_what_was_in_flight_is_cancelled():
    samples = (
        *(Recorded(answer="2", correct=False, verified=False),) * 9,
        Recorded(answer="1", correct=True, verified=True),
    )
    row = Row(dataset="d", model="m", id="q", samples=samples)
    found = [played(row, order) for order in range(50)]

    assert {each.reason for each in found} == {"verified"}
    assert all(each.right and each.evidence.proven for each in found)
    assert sum(each.cancelled for each in found) > 0
    assert all(each.samples + each.cancelled <= 10 for each in found)


def test_refuted_answers_do_not_vote():
    samples = (Recorded(answer="2", correct=False, verified=False),) * 6
    row = Row(dataset="d", model="m", id="q", samples=samples)

    assert (played(row).reason, played(row).right) == ("cap", False)


def mixed(texts: Sequence[str], programs: Sequence[str]) -> Row:
    def recorded(answers: Sequence[str], mode: str) -> list[Recorded]:
        return [Recorded(answer=a, correct=a == "1", m=mode, chars=9) for a in answers]

    samples = (*recorded(texts, "cot1"), *recorded(programs, "pot1"))
    return Row(dataset="d", model="m", id="q", samples=samples)


def test_a_text_and_a_program_that_agree_are_two_samples():
    found = played(mixed(["1"] * 6, ["1"] * 6), rule="two_kinds")

    assert (found.reason, found.samples, found.rounds) == ("two_kinds", 2, 1)
    assert found.evidence.both_kinds


def test_an_empty_pile_is_replaced_by_the_other_one():
    found = [played(mixed(["1", "2"] * 5, ["3"]), n, rule="two_kinds") for n in range(20)]

    assert max(each.samples for each in found) == 11


def test_where_one_kind_was_recorded_two_kinds_is_the_margin():
    row = a_row(["1"] * 5)

    assert played(row, rule="two_kinds") == played(row, rule="margin")


Counted = Counter[str]


def sure(counts: Counted) -> bool:
    """P(p > ½ | Beta(a+1, b+1)) ≥ .95, by the binomial sum."""
    a, b = ([count for _, count in counts.most_common(2)] + [0, 0])[:2]
    n = a + b + 1
    return sum(math.comb(n, k) for k in range(a + 1)) >= 0.95 * 2**n


def told_apart(counts: Counted) -> bool:
    """PPR-1v1 at .05, shared among the rivals."""
    ranked = [count for _, count in counts.most_common()] or [0]
    rivals = ranked[1:] or [0]
    return all(
        (ranked[0] + b + 1) * math.comb(ranked[0] + b, b) / 2 ** (ranked[0] + b)
        <= 0.05 / len(rivals)
        for b in rivals
    )


def lead(counts: Counted) -> int:
    first, second = ([count for _, count in counts.most_common(2)] + [0, 0])[:2]
    return first - second


def reference(drawn: Sequence[Recorded], stops: Callable[[Counted, int], bool]) -> int:
    """Samples of a plain loop that draws one by one and counts."""
    counts: Counted = Counter()
    for number, sample in enumerate(drawn, start=1):
        counts[sample.answer] += sample.answer is not None
        if stops(+counts, number):
            return number
    return len(drawn)


@pytest.mark.parametrize(
    ("rule", "stops"),
    [
        ("margin", lambda counts: lead(counts) >= 3),
        ("adaptive", lambda counts: sure(counts)),
        ("certified", lambda counts: told_apart(counts)),
        ("exact", lambda counts: False),
    ],
)
def test_the_cost_is_that_of_a_plain_loop_that_counts(rule: RuleName, stops):
    """Plus what every rule has in common: it ends when nobody can overtake the leader."""
    for row in questions(60):
        for order in range(3):
            drawn = list(row.samples)
            random.Random(f"0\x1f{row.dataset}\x1f{row.model}\x1f{row.id}\x1f{order}").shuffle(
                drawn
            )

            def ends(counts: Counted, n: int) -> bool:
                return stops(counts) or lead(counts) > 12 - n

            assert played(row, order, rule=rule).samples == reference(drawn, ends)


def test_exact_is_right_exactly_where_fixed_is():
    rows = questions(80)
    fixed = [played(row, order, rule="fixed") for row in rows for order in range(3)]
    exact = [played(row, order, rule="exact") for row in rows for order in range(3)]

    assert [each.right for each in exact] == [each.right for each in fixed]
    assert fmean(each.samples for each in exact) < fmean(each.samples for each in fixed) == 12
