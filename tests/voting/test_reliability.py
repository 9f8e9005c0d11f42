"""Whether confidences mean what they say, as numbers and as a drawing."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.voting.diagram import HEIGHT, WIDTH, reliability_svg
from app.voting.reliability import Believed, reliability_of, wilson

SVG = "{http://www.w3.org/2000/svg}"


def answers(*rows: tuple[float, int, int]) -> list[Believed]:
    """Confidence, how many of its answers are right, and how many there are."""
    return [
        Believed(confidence=sure, right=i < right)
        for sure, right, total in rows
        for i in range(total)
    ]


def test_answers_are_right_as_often_as_they_say():
    honest = reliability_of(answers((0.8, 8, 10), (0.4, 4, 10)))

    assert honest.calibration_error == pytest.approx(0.0)
    assert honest.brier == pytest.approx((0.8 * 0.2 + 0.4 * 0.6) / 2)


def test_the_error_weighs_each_bin_by_its_answers():
    proud = reliability_of(answers((0.95, 6, 30), (0.35, 3, 10)))

    assert proud.calibration_error == pytest.approx(0.75 * 0.75 + 0.25 * 0.05)


def test_a_confidence_has_to_beat_the_constant():
    knowing = reliability_of(answers((0.9, 9, 10), (0.1, 1, 10)))

    assert knowing.constant_brier == pytest.approx(0.25)
    assert knowing.brier < knowing.constant_brier


def test_bins_without_answers_are_left_out_and_certainty_is_in_the_last():
    found = reliability_of(answers((1.0, 3, 3), (0.0, 0, 2)))

    assert [(b.low, b.high, b.answers, b.right) for b in found.bins] == [
        (0.0, 0.1, 2, 0),
        (0.9, 1.0, 3, 3),
    ]


def test_no_answers_no_numbers():
    assert reliability_of([]) is None


def test_the_interval_is_wilsons():
    assert wilson(8, 10) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert wilson(0, 10) == (0.0, pytest.approx(0.2775, abs=1e-4))
    assert wilson(10, 10) == (pytest.approx(0.7225, abs=1e-4), 1.0)


@given(st.lists(st.builds(Believed, confidence=st.floats(0, 1), right=st.booleans()), min_size=1))
def test_every_answer_is_in_one_bin_and_every_share_in_its_interval(believed):
    found = reliability_of(believed)

    assert sum(b.answers for b in found.bins) == found.answers == len(believed)
    assert 0 <= found.calibration_error <= 1
    for each in found.bins:
        assert each.low - 1e-9 <= each.confidence <= each.high + 1e-9
        assert each.share_low <= each.share <= each.share_high


def test_the_drawing_has_a_dot_for_each_bin_at_its_confidence_and_share():
    drawn = _parse(reliability_svg({"maths": reliability_of(answers((0.9, 8, 10), (0.2, 1, 10)))}))

    dots = [(float(d.get("cx")), float(d.get("cy"))) for d in drawn.iter(f"{SVG}circle")]
    ideal = next(line for line in drawn.iter(f"{SVG}line") if line.get("class") == "ideal")
    left, foot = float(ideal.get("x1")), float(ideal.get("y1"))
    side = float(ideal.get("x2")) - left
    placed = [((x - left) / side, (foot - y) / side) for x, y in dots]

    assert placed == [
        (pytest.approx(0.2, abs=1e-3), pytest.approx(0.1, abs=1e-3)),
        (pytest.approx(0.9, abs=1e-3), pytest.approx(0.8, abs=1e-3)),
    ]


def test_several_routes_are_drawn_side_by_side_and_their_names_are_only_text():
    one = reliability_of(answers((0.9, 8, 10)))
    drawn = _parse(reliability_svg({"a < b & <script>": one, "b": one, "c": one, "d": one}))

    names = [t.text for t in drawn.iter(f"{SVG}text") if t.get("class") == "name"]

    assert names == ["a < b & <script>", "b", "c", "d"]
    assert int(drawn.get("width")) == 3 * WIDTH
    assert int(drawn.get("height")) >= 2 * HEIGHT


def test_a_drawing_of_nothing_is_still_a_drawing():
    assert _parse(reliability_svg({})).tag == f"{SVG}svg"


def _parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)
