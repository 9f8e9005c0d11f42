from __future__ import annotations

import pytest

from app.ui.shown import (
    reveal,
    show,
    show_json,
    show_line,
    show_ms,
    show_number,
    show_percent,
    show_seconds,
)


@pytest.mark.parametrize(
    ("hidden", "shown"),
    [
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("a\u2066b\u2069", "a⟨U+2066⟩b⟨U+2069⟩"),
        ("a\u200bb", "a⟨U+200B⟩b"),
        ("a\ufeffb", "a⟨U+FEFF⟩b"),
        ("a\x00\x1b[31m", "a⟨U+0000⟩⟨U+001B⟩[31m"),
        ("a\x85b\u2028c", "a⟨U+0085⟩b⟨U+2028⟩c"),
        ("a\U000e0041b", "a⟨U+E0041⟩b"),
        ("a\ud800b", "a⟨U+D800⟩b"),
        ("a\rb", "a⟨U+000D⟩b"),
    ],
)
def test_a_concealed_character_is_written_out(hidden, shown):
    assert reveal(hidden) == shown
    assert reveal(shown) == shown


@pytest.mark.parametrize("text", ["a\tb\nc", "مرحبا שלום 你好", "👩‍💻 e\u0301", "می\u200cخواهم"])
def test_ordinary_writing_is_left_alone(text):
    assert reveal(text) == text


def test_windows_line_ends_become_plain_ones():
    assert reveal("a\r\nb") == "a\nb"


def test_a_long_text_is_cut_and_says_by_how_much():
    shown = show("x" * 50_000, cap=20_000)

    assert (len(shown.text), shown.cut) == (20_000, 30_000)


def test_a_text_at_the_cap_is_whole():
    assert show("x" * 20, cap=20).cut == 0


def test_a_line_has_no_line_breaks_and_ends_in_an_ellipsis_when_cut():
    assert show_line("  one\n two\t three ") == "one two three"
    assert show_line("abcdef", cap=4) == "abc…"


def test_json_keeps_every_digit_and_every_letter():
    assert show_json({"id": 9007199254740993, "名": (1, 2)}).text == (
        '{\n  "id": 9007199254740993,\n  "名": [\n    1,\n    2\n  ]\n}'
    )


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (0, "0.0 ms"),
        (0.04, "< 0.1 ms"),
        (9.94, "9.9 ms"),
        (412.4, "412 ms"),
        (3_149, "3.1 s"),
        (125_000, "2 min 05 s"),
    ],
)
def test_a_duration_has_the_unit_that_reads_best(ms, shown):
    assert show_ms(ms) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.05, "5 %"), (0.9744, "97.4 %"), (0.001, "0.1 %"), (0.0005, "0.05 %"), (1.0, "100 %")],
)
def test_a_share_is_shown_in_percent(share, shown):
    assert show_percent(share) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.2, "under 1 s"), (42, "42 s"), (754, "13 min"), (18_360, "5.1 h"), (259_200, "3.0 d")],
)
def test_an_age_has_the_unit_that_reads_best(seconds, shown):
    assert show_seconds(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (1.0, "1"), (0.5, "0.5"), (1 / 3, "0.333"), (-0.0001, "0"), (100.0, "100")],
)
def test_a_score_has_no_trailing_zeros(value, shown):
    assert show_number(value) == shown
