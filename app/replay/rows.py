"""Files of recorded samples → groups of rows.

One JSON object a line, a question of one model each: `{"dataset", "model", "id", "samples":
[{"answer", "correct", "tokens"?, "chars"?, "m"?, "score"?, "verified"?}]}`; other keys are ignored.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, MinLen
from pydantic import TypeAdapter, ValidationError

from app.errors import ConfigError
from app.sample import SampleKind

NAMES = ("samples_*.jsonl", "samples_*.jsonl.gz")
"""What is read of a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One sample as its source recorded it."""

    answer: str | None
    """In canonical form: equal texts are one vote. None: nothing could be extracted."""
    correct: bool
    tokens: Annotated[int, Ge(0)] | None = None
    """Completion tokens; None where the source did not count them."""
    chars: Annotated[int, Ge(0)] | None = None
    """Length of the text."""
    m: str | None = None
    """Prompt or setting that it was drawn with; names that begin with `pot` asked for a program."""
    score: float | None = None
    """What a scorer of the source's gave it, on the scorer's own scale."""
    verified: bool | None = None
    """What a check of the source's found."""

    @property
    def kind(self) -> SampleKind:
        return "program" if self.m is not None and self.m.startswith("pot") else "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """All recorded samples of one model for one question."""

    dataset: str
    model: str
    id: str
    """Of the question; sources use one for several questions now and then."""
    samples: Annotated[tuple[Recorded, ...], MinLen(1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """The questions of one dataset as one model answered them."""

    dataset: str
    model: str
    rows: tuple[Row, ...]

    @property
    def deepest(self) -> int:
        """The most samples that a question has."""
        return max(len(row.samples) for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What holds for a recording as a whole and decides how its rows are played."""

    checked: bool
    """`verified` tells answers apart, so it stands for a decisive verifier. Where every sample with
    an answer is marked, the mark says only that something ran."""
    two_kinds: bool
    """Both texts and programs were recorded."""
    counts_tokens: bool
    """Every sample says how many tokens it cost."""


def traits_of(recording: Recording) -> Traits:
    """Read off the samples, never off what is right."""
    samples = [sample for row in recording.rows for sample in row.samples]
    return Traits(
        checked=any(s.verified is False and s.answer is not None for s in samples),
        two_kinds=len({sample.kind for sample in samples}) == 2,
        counts_tokens=all(sample.tokens is not None for sample in samples),
    )


def read_recordings(paths: Iterable[Path]) -> tuple[Recording, ...]:
    """The recordings of these files and folders, in the order of dataset and model.

    Raises `ConfigError` for what cannot be read; a row that is not of the form is named by its file
    and line.
    """
    rows: dict[tuple[str, str], list[Row]] = {}
    for file in files_of(paths):
        for row in _read(file):
            rows.setdefault((row.dataset, row.model), []).append(row)
    return tuple(
        Recording(dataset=dataset, model=model, rows=tuple(found))
        for (dataset, model), found in sorted(rows.items())
    )


def files_of(paths: Iterable[Path]) -> Sequence[Path]:
    """Files as named, and of folders the ones with recorded samples; each once."""
    found: dict[Path, Path] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(file for name in NAMES for file in path.glob(name))
            if not inside:
                raise ConfigError(f"'{path}' holds no {' and no '.join(NAMES)}")
        else:
            inside = [path]
        for file in inside:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _read(file: Path) -> Iterator[Row]:
    for number, line in enumerate(_lines(file), start=1):
        if line.strip():
            try:
                yield _adapter().validate_json(line)
            except ValidationError as broken:
                raise ConfigError(f"{file}:{number}: {_first_error(broken)}") from None


def _lines(file: Path) -> Iterator[bytes]:
    try:
        with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as lines:
            yield from lines
    except (EOFError, zlib.error, gzip.BadGzipFile) as broken:
        raise ConfigError(f"'{file}' is not a whole gzip file: {broken}") from None
    except OSError as missing:
        raise ConfigError(f"'{file}' cannot be read: {missing.strerror or missing}") from None


@cache
def _adapter() -> TypeAdapter[Row]:
    return TypeAdapter(Row)


def _first_error(broken: ValidationError) -> str:
    error = broken.errors(include_url=False)[0]
    place = ".".join(map(str, error["loc"]))
    return f"'{place}': {error['msg']}" if place else str(error["msg"])
