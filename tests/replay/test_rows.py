"""What a file of recorded samples may hold, and what is said about one that cannot be used."""

from __future__ import annotations

import gzip

import pytest

from app.errors import ConfigError
from app.replay.rows import Recorded, Row, Traits, read_recordings, traits_of
from tests.replay.recorded import a_recording, a_row, lines_of, write

GOOD = lines_of([a_row(["1", "2"])]).strip()


def test_rows_of_one_dataset_and_model_are_one_recording_whatever_file_they_are_in(tmp_path):
    write(tmp_path, [a_row(["1"], name="a")], "samples_a.jsonl")
    write(tmp_path, [a_row(["2"], name="b")], "samples_b.jsonl")
    other = lines_of([a_row(["1"], name="c")], model="large")
    (tmp_path / "samples_c.jsonl").write_text(other)

    recordings = read_recordings([tmp_path])

    assert [(r.model, [row.id for row in r.rows]) for r in recordings] == [
        ("large", ["c"]),
        ("small", ["a", "b"]),
    ]


def test_what_is_no_file_of_samples_is_left_alone_in_a_folder(tmp_path):
    write(tmp_path, [a_row(["1"])])
    (tmp_path / "texts_sums.jsonl").write_text("no samples\n")
    (tmp_path / "baseline.json").write_text("{}")

    assert len(read_recordings([tmp_path])) == 1


def test_a_file_is_read_once_though_it_is_named_twice(tmp_path):
    file = write(tmp_path, [a_row(["1"])])

    (recording,) = read_recordings([tmp_path, file])

    assert len(recording.rows) == 1


def test_zipped_and_plain_files_say_the_same(tmp_path):
    rows = [a_row(["1", None])]
    plain = write(tmp_path, rows)
    zipped = tmp_path / "samples_sums.jsonl.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))

    assert read_recordings([plain]) == read_recordings([zipped])


def test_unknown_keys_and_blank_lines_are_nobodys_business(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text("\n" + lines_of([a_row(["1"])], question="?", gold="1", source="x") + "\n")

    (recording,) = read_recordings([file])

    assert recording.rows[0].samples == (Recorded(answer="1", correct=True),)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("not json", "Invalid JSON"),
        ("[]", "object"),
        ("{}", "'dataset': Field required"),
        (GOOD.replace('"samples"', '"sample"'), "'samples': Field required"),
        ('{"dataset": "d", "model": "m", "id": "q", "samples": []}', "'samples'"),
        (GOOD.replace('"answer": "2"', '"answer": 2'), "'samples.1.answer'"),
        (GOOD.replace('"correct": 0', '"correct": "maybe"'), "'samples.1.correct'"),
        (GOOD.replace('"correct": 0', '"correct": null'), "'samples.1.correct'"),
        (GOOD.replace('"correct": 0', '"correct": 0, "tokens": -1'), "'samples.1.tokens'"),
        (GOOD.replace('"id": "q"', '"id": null'), "'id'"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_by_file_line_and_field(tmp_path, line, said):
    file = tmp_path / "samples_bad.jsonl"
    file.write_text(f"{GOOD}\n{line}\n{GOOD}\n")

    with pytest.raises(ConfigError) as refused:
        read_recordings([file])

    assert refused.value.message.startswith(f"{file}:2: ")
    assert said in refused.value.message


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(GOOD.encode() * 99)[:-9]])
def test_a_broken_zip_file_is_named(tmp_path, content):
    file = tmp_path / "samples_bad.jsonl.gz"
    file.write_bytes(content)

    with pytest.raises(ConfigError, match=r"samples_bad\.jsonl\.gz"):
        read_recordings([file])


def test_a_missing_file_and_a_folder_without_samples_are_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere' cannot be read"):
        read_recordings([tmp_path / "nowhere"])
    with pytest.raises(ConfigError, match=r"holds no samples_\*\.jsonl"):
        read_recordings([tmp_path])


def marked(*samples: tuple[str | None, bool]) -> Traits:
    recorded = (Recorded(answer=a, correct=False, verified=v) for a, v in samples)
    row = Row(dataset="sums", model="small", id="q", samples=tuple(recorded))
    return traits_of(a_recording(row))


def test_a_mark_on_every_answer_is_no_check():
    """It says that something ran, not that the answer is right."""
    assert not marked(("1", True), (None, False), ("2", True)).checked
    assert marked(("1", True), ("2", False)).checked
    assert not traits_of(a_recording(a_row(["1", "2"]))).checked


def test_modes_that_begin_with_pot_are_programs():
    kinds = [Recorded(answer="1", correct=True, m=m).kind for m in ("pot1", "cot1", "T0.7", None)]

    assert kinds == ["program", "text", "text", "text"]
