"""The event reader: any chunk borders, any line ends, and a bound on both."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engines.sse import SSEReader
from app.errors import EngineGarbage

STREAM = (
    b'\xef\xbb\xbf: hello\n\ndata: {"a": 1}\n\nevent: x\r\ndata:two\r\ndata: lines\r\n\r\n'
    b"id: 7\rretry: 3\rdata: \xc3\xa4\r\rdata\n\n\n\ndata: [DONE]\n\n"
)
EVENTS = [b'{"a": 1}', b"two\nlines", b"\xc3\xa4", b"[DONE]"]


def read(chunks: list[bytes]) -> list[bytes]:
    reader = SSEReader()
    events = [event for chunk in chunks for event in reader.feed(chunk)]
    return events + reader.finish()


def test_only_data_comes_out_whatever_the_line_ends() -> None:
    assert read([STREAM]) == EVENTS


@pytest.mark.parametrize("at", range(len(STREAM)))
def test_a_border_anywhere_changes_nothing(at: int) -> None:
    assert read([STREAM[:at], STREAM[at:]]) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_many_borders_change_nothing(cuts: list[int]) -> None:
    borders = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[a:b] for a, b in pairwise(borders)]

    assert read(chunks) == EVENTS


def test_a_last_event_without_its_blank_line_counts_but_half_a_line_does_not() -> None:
    assert read([b"data: whole\n"]) == [b"whole"]
    assert read([b"data: whole\n\ndata: ha"]) == [b"whole"]


@pytest.mark.parametrize(
    "stream",
    [b"x" * 100, b"data: " + b"x" * 100 + b"\n\n", b"data: " + b"x" * 30 + b"\n"],
    ids=["no line end", "one line", "many lines of one event"],
)
def test_a_line_and_an_event_are_bounded(stream: bytes) -> None:
    reader = SSEReader(max_line_bytes=50)

    with pytest.raises(EngineGarbage, match="more than 50 bytes"):
        [reader.feed(stream) for _ in range(3)]


def test_a_long_line_in_small_pieces_is_bounded_too() -> None:
    reader = SSEReader(max_line_bytes=50)

    with pytest.raises(EngineGarbage, match="more than 50 bytes"):
        [reader.feed(b"x") for _ in range(51)]
