"""Instructions that are a whole task with one checkable form."""

from __future__ import annotations

import csv
import re
import unicodedata
from datetime import date
from itertools import pairwise

from verifiers.kinds.constraint_checks.instruction import instruction
from verifiers.kinds.constraint_checks.lists import AFRICA, CAPITALS_NORTH_OF_45
from verifiers.kinds.constraint_checks.segments import edges_off, lines, sentences

NAPOLEON_LIVED = (1769, 1821)
MAX_LINE_CHARS = 10_000
QUESTIONS, OPTIONS = 4, 5


@instruction("custom:multiples")
def multiples_of_seven(text: str) -> bool:
    """From 10 to 50, in order, no other number."""
    return [int(number) for number in re.findall(r"\d{1,9}", text)] == list(range(14, 50, 7))


@instruction("custom:word_reverse")
def bald_eagle_by_words(text: str) -> bool:
    """`eagle` then `bald`, as the last sentence read backwards has it."""
    found = [edges_off(word).lower() for word in text.split()]
    return any(pair == ("eagle", "bald") for pair in pairwise(found)) and len(sentences(text)) == 1


@instruction("custom:character_reverse")
def bald_eagle_by_letters(text: str) -> bool:
    return "elgae dlab" in text.lower()


@instruction("custom:sentence_alphabet")
def alphabet_story(text: str) -> bool:
    """26 sentences that begin with A to Z."""
    first = [edges_off(sentence)[:1].lower() for sentence in sentences(text)]
    return first == [chr(ord("a") + index) for index in range(26)]


@instruction("custom:reverse_newline")
def countries_of_africa(text: str) -> bool:
    """All 54, one a line, in reverse order of their letters."""
    said = [edges_off(_plain(_LIST_MARK.sub("", line))) for line in lines(text)]
    if len(said) != len(AFRICA) or said != sorted(said, reverse=True):
        return False
    return all(sum(1 for name in names if name in said) == 1 for names in AFRICA)


@instruction("custom:european_capitals_sort")
def capitals_by_latitude(text: str) -> bool:
    said = [_plain(part).strip(" \n.") for part in text.split(",")]
    return tuple(said) == CAPITALS_NORTH_OF_45


@instruction("custom:date_format_list")
def dates_of_napoleon(text: str) -> bool:
    """Real dates of his lifetime as YYYY-MM-DD, with commas between."""
    return all(_is_date(part.strip()) for part in text.strip().split(","))


@instruction("custom:csv_city")
def csv_of_cities(text: str) -> bool:
    rows = _table(text, ",")
    return _has_form(rows, ["ID", "Country", "City", "Year", "Count"], rows=7)


@instruction("custom:csv_special_character")
def csv_with_special_character(text: str) -> bool:
    """One quoted field has a character that is no letter, digit, underscore or space."""
    rows = _table(text, ",")
    special = any(_SPECIAL.search(quoted) for quoted in _QUOTED.findall(text))
    return special and _has_form(
        rows, ["ProductID", "Category", "Brand", "Price", "Stock"], rows=14
    )


@instruction("custom:csv_quotes")
def csv_in_quotes(text: str) -> bool:
    """Tabs between the fields, every field in double quotes."""
    raw = [line.split("\t") for line in text.strip().splitlines()]
    quoted = all(
        len(f.strip()) > 1 and f.strip()[0] == f.strip()[-1] == '"' for r in raw for f in r
    )
    rows = _table(text, "\t")
    return quoted and _has_form(
        rows, ["StudentID", "Subject", "Grade", "Semester", "Score"], rows=3
    )


@instruction("custom:mcq_count_length")
def questions_that_grow(text: str) -> bool:
    """Four times `Question`, each longer than the one before, each with options A to E."""
    text = text.strip()
    parts = [part.strip() for part in _QUESTION.split(text)]
    if not text.startswith("Question") or parts[0] or len(parts) != QUESTIONS + 1:
        return False
    lengths = []
    for part in parts[1:]:
        options = list(_OPTION.finditer(part))
        if [option[1].upper() for option in options] != list("ABCDE"[:OPTIONS]):
            return False
        lengths.append(len(" ".join(part[: options[0].start()].split())))
    return all(a < b for a, b in pairwise(lengths))


def _plain(text: str) -> str:
    """Without accents, with straight quotes."""
    flat = unicodedata.normalize("NFKD", text.replace("’", "'"))
    return flat.encode("ascii", "ignore").decode("ascii")


def _is_date(text: str) -> bool:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return False
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return False
    return NAPOLEON_LIVED[0] <= day.year <= NAPOLEON_LIVED[1]


def _table(text: str, delimiter: str) -> list[list[str]]:
    """Rows of fields; none when the text is no such table."""
    raw = text.strip().splitlines()
    if any(len(line) > MAX_LINE_CHARS for line in raw):
        return []
    try:
        rows = list(csv.reader(raw, delimiter=delimiter, strict=True, skipinitialspace=True))
    except csv.Error:
        return []
    return rows


def _has_form(table: list[list[str]], header: list[str], *, rows: int) -> bool:
    return table[:1] == [header] and [len(row) for row in table[1:]] == [len(header)] * rows


_LIST_MARK = re.compile(r"^\s*(?:\d{1,3}[.)]|[-*•])\s+")
_SPECIAL = re.compile(r"[^\w\s]")
_QUOTED = re.compile(r'"([^"\n]{1,500})"')
_QUESTION = re.compile(r"^Question(?:[ \t]+\d{1,3})?[.:);]?", re.MULTILINE)
_OPTION = re.compile(r"^[ \t]*([A-Ea-e])[.)][ \t]*\S", re.MULTILINE)
