"""The page of a night says what became of it, in numbers and in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.retrain.select import WHY
from app.ui.night import night_page, report_html
from app.ui.plots import axis_around, curve
from tests.retrain import reports
from tests.ui.browser import Browser


def test_a_promoted_night_shows_every_stage() -> None:
    page = night_page(reports.promoted(), why=WHY)

    assert (page.status.kind, page.status.word) == ("verified", "Promoted")
    assert page.when == "2026-09-21 14:13 UTC, took 19 min"
    assert [row.name for row in page.metrics] == ["One sample", "Vote", "Verified", "Greedy"]
    assert [row.name for row in page.slices][:2] == ["difficulty: easy", "difficulty: hard"]
    assert [row.state.word for row in page.conditions].count("Holds") == 5
    assert [each.name for each in page.curves] == [
        "Reward",
        "KL",
        "Effective samples",
        "Entropy",
        "Gradient",
    ]
    assert [each.name for each in page.diagrams] == ["Before", "After"]
    assert page.left_out[0].reason == "every sample was right"


def test_what_each_phase_took_is_told() -> None:
    report = {**reports.promoted(), "phases": {"select": 3.0, "train": 610.0}}
    facts = {fact.name: fact for fact in night_page(report).facts}

    assert (facts["Wall time"].value, facts["Wall time"].help) == (
        "10 min",
        "select 3 s, train 10 min",
    )


def test_a_refused_night_says_why_first() -> None:
    page = night_page(reports.refused())

    assert page.status.word == "Refused"
    assert page.reasons[0].startswith("cut (share that ran into the token limit): ")
    assert page.signs[0].alarm
    assert {row.state.word for row in page.conditions} == {"Holds", "Fails", "Not decided"}


def test_a_skipped_night_shows_what_was_left_out_and_nothing_more() -> None:
    page = night_page(reports.skipped())

    assert page.metrics == page.slices == page.conditions == page.curves == page.diagrams == ()
    assert (page.nights, page.training, page.canary) == (None, "", "")
    assert page.left_out


def test_changes_are_placed_on_one_axis() -> None:
    page = night_page(reports.promoted())
    vote = next(row for row in page.metrics if row.name == "Vote")
    _, _, zero = page.axis

    assert zero < vote.span.low < vote.span.at < vote.span.high <= 100
    assert all(row.span.low <= row.span.at <= row.span.high for row in page.slices)


def test_the_curve_over_nights_tells_promoted_from_refused() -> None:
    nights = night_page(reports.promoted()).nights

    assert nights is not None
    assert [filled for _, _, filled in nights.dots] == [False, True, True]


def test_an_axis_holds_zero_and_ends_at_round_numbers() -> None:
    axis = axis_around([3.0, 12.0], step=5.0)

    assert (axis.least, axis.most) == (0.0, 15.0)
    assert (axis.place(0), axis.place(15), axis.place(99)) == (0.0, 100.0, 100.0)


def test_a_flat_curve_is_a_line() -> None:
    flat = curve("KL", [0.5, 0.5, 0.5], help="")

    assert flat.points == "0,90 150,90 300,90"


def test_names_from_outside_are_shown_and_not_run() -> None:
    night = reports.promoted()
    night["night"] |= {"policy": "<script>alert(1)</script>", "reason": "a\u202eb"}
    html = report_html(night)

    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "a⟨U+202E⟩b" in html


def test_the_file_needs_no_server() -> None:
    html = report_html(reports.promoted())

    assert not re.search(r"(?:src|href)=", html)
    assert html.count("<html") == html.count("</html>") == html.count("<style>") == 1


@pytest.mark.parametrize("width", [1400, 400])
def test_the_file_fits_its_window(browser: Browser, tmp_path: Path, width: int) -> None:
    file = tmp_path / "night.html"
    file.write_text(report_html(reports.promoted(), why=WHY), encoding="utf-8")
    browser.open(file.as_uri(), width=width)
    wide = browser.evaluate("document.documentElement.scrollWidth")
    shown = browser.evaluate("document.querySelectorAll('svg.change, .curve svg, .diagram').length")

    assert wide <= width
    assert shown == 4 + 3 + 6 + 2
    assert browser.console == []
