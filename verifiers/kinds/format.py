"""`format`: the response has the outer form that was agreed on. A gate, worth nothing.

Tags in order and filled, numbered steps that say different things, JSON and nothing else, a
scratchpad of some length. It sees form only: steps may be nonsense and still pass. Empty tags,
repeated steps and filler do not count as content.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from verifiers.base import (
    Answer,
    BadCheck,
    Candidate,
    Check,
    Finding,
    Isolation,
    Prepared,
    Role,
    Status,
    register,
)
from verifiers.extract import after_thinking
from verifiers.options import read_flag
from verifiers.strict_json import NotStrictJson, parse_json

DEFAULT_TAGS = ("think", "answer")
MAX_TAGS = 10
MAX_CHARS = 200_000
"""A longer response is not checked: error, not fail."""
MAX_WORDS = 100_000
MAX_STEPS = 1_000
MIN_WORDS_OF_A_STEP = 2
RUN = 4
"""Words that repeat in runs of this length are filler and count once."""


@dataclass(frozen=True, slots=True)
class Form:
    """What is wanted; None or empty where nothing is."""

    tags: tuple[str, ...]
    min_steps: int | None
    json_only: bool
    min_scratchpad: int | None
    max_scratchpad: int | None


class _Unfit(Exception):
    """The response does not have the form."""

    def __init__(self, reason: str, **evidence: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.evidence = evidence


@register
class Format:
    name: ClassVar[str] = "format"
    version: ClassVar[str] = "1"
    role: ClassVar[Role] = "gate"
    isolation: ClassVar[Isolation] = "worker"
    options: ClassVar[Mapping[str, str]] = {
        "tags": 'Tags that follow each other, each once and filled. Alone: `["think", "answer"]`.',
        "min_steps": "Least number of numbered steps, from 1 on, that say different things.",
        "json_only": "`true`: one strict JSON object or array and nothing around it.",
        "min_scratchpad": "Least number of words in the thinking tag; repeated runs count once.",
        "max_scratchpad": "Largest number of words in the thinking tag.",
    }

    def detect(self, check: Check) -> None:
        return None

    def prepare(self, options: Mapping[str, Any], check: Check) -> Prepared:
        form = Form(
            tags=_read_tags(options),
            min_steps=_read_count(options, "min_steps", MAX_STEPS),
            json_only=read_flag(options, "json_only"),
            min_scratchpad=_read_count(options, "min_scratchpad", MAX_WORDS),
            max_scratchpad=_read_count(options, "max_scratchpad", MAX_WORDS),
        )
        if form.json_only and (form.tags or form.min_steps):
            raise BadCheck("JSON alone has no tags and no steps", param="json_only")
        least, most = form.min_scratchpad, form.max_scratchpad
        if least is not None and most is not None and least > most:
            raise BadCheck("max_scratchpad is below min_scratchpad", param="max_scratchpad")
        return Prepared(payload=form)

    def canaries(self, prepared: Prepared) -> Sequence[Candidate]:
        """A text with nothing in it."""
        return (Candidate(text=""),)

    def verify(self, prepared: Prepared, candidate: Candidate, answer: Answer) -> Finding:
        form: Form = prepared.payload
        if candidate.finish_reason in _CUT:
            return Finding(status=Status.FAIL, reason=_CUT[candidate.finish_reason])
        if len(candidate.text) > MAX_CHARS:
            return Finding(status=Status.ERROR, reason="too_long")
        try:
            _check(form, candidate.text)
        except _Unfit as unfit:
            return Finding(status=Status.FAIL, reason=unfit.reason, evidence=unfit.evidence)
        return Finding(status=Status.PASS, reason="well_formed")


def _check(form: Form, text: str) -> None:
    if not _has_content(text):
        raise _Unfit("empty")
    if form.tags:
        _check_tags(form.tags, text)
    if form.json_only:
        _check_json(text)
    if form.min_steps is not None:
        _check_steps(form.min_steps, text)
    if form.min_scratchpad is not None or form.max_scratchpad is not None:
        _check_scratchpad(form, text)


def _check_tags(tags: Sequence[str], text: str) -> None:
    """Opening and closing tags in their order, something in each, nothing between or around."""
    names = "|".join(map(re.escape, tags))
    marks = [(found[1], found[2]) for found in re.finditer(rf"<(/?)({names})>", text)]
    wanted = [mark for tag in tags for mark in (("", tag), ("/", tag))]
    for tag in tags:
        if ("", tag) not in marks or ("/", tag) not in marks:
            raise _Unfit("tag_missing", tag=tag)
        if marks.count(("", tag)) > 1 or marks.count(("/", tag)) > 1:
            raise _Unfit("tag_repeated", tag=tag)
    if marks != wanted:
        raise _Unfit("tag_order", found=[f"<{close}{name}>" for close, name in marks])
    parts = re.split(rf"</?(?:{names})>", text)
    if any(part.strip() for part in parts[::2]):
        raise _Unfit("text_outside_tags")
    for tag, inside in zip(tags, parts[1::2], strict=True):
        if not _has_content(inside):
            raise _Unfit("tag_empty", tag=tag)


def _check_json(text: str) -> None:
    said = after_thinking(text)
    if said is None:
        raise _Unfit("unfinished_thinking")
    try:
        value = parse_json(said, max_chars=MAX_CHARS)
    except NotStrictJson as refused:
        raise _Unfit(refused.reason, message=str(refused)) from None
    if not isinstance(value, dict | list):
        raise _Unfit("not_an_object_or_array")


def _check_steps(least: int, text: str) -> None:
    steps = _numbered_steps(text)
    said = [_gist(step) for step in steps]
    filled = [gist for gist in said if len(gist) >= MIN_WORDS_OF_A_STEP]
    if len(filled) < least:
        raise _Unfit("too_few_steps", found=len(steps), filled=len(filled), wanted=least)
    if len(set(filled)) < least:
        raise _Unfit("repeated_steps", distinct=len(set(filled)), wanted=least)


def _numbered_steps(text: str) -> list[str]:
    """The contents of steps 1, 2, 3, … in order; a list that starts again does not go on."""
    starts: list[re.Match[str]] = []
    for found in _STEP.finditer(text):
        number = found[1] or found[2]
        if int(number) == len(starts) + 1:
            starts.append(found)
    ends = [*(found.start() for found in starts[1:]), len(text)]
    return [text[found.end() : end] for found, end in zip(starts, ends, strict=False)]


def _gist(step: str) -> frozenset[str]:
    """What a step says: its words whatever their order, so that shuffling makes no new step."""
    return frozenset(_WORD.findall(_TAG.sub(" ", step).casefold())) - _EMPTY_WORDS


def _check_scratchpad(form: Form, text: str) -> None:
    inside = _scratchpad(text)
    if inside is None:
        raise _Unfit("scratchpad_missing")
    words = _WORD.findall(inside.casefold())
    runs = {tuple(words[at : at + RUN]) for at in range(len(words) - RUN + 1)}
    distinct = min(len(words), len(runs) + RUN - 1)
    if form.min_scratchpad is not None and distinct < form.min_scratchpad:
        raise _Unfit("scratchpad_too_short", words=len(words), distinct=distinct)
    if form.max_scratchpad is not None and len(words) > form.max_scratchpad:
        raise _Unfit("scratchpad_too_long", words=len(words))


def _scratchpad(text: str) -> str | None:
    """What stands between the first thinking tag and its end."""
    opened = _SCRATCHPAD.search(text)
    if opened is None:
        return None
    end = text.find(f"</{opened[1]}>", opened.end())
    return None if end < 0 else text[opened.end() : end]


def _has_content(text: str) -> bool:
    """Whether there is a letter or digit beside markup."""
    return any(char.isalnum() for char in _TAG.sub("", text))


def _read_tags(options: Mapping[str, Any]) -> tuple[str, ...]:
    tags = options.get("tags", DEFAULT_TAGS if not options else ())
    if (
        not isinstance(tags, list | tuple)
        or len(tags) > MAX_TAGS
        or ("tags" in options) > len(tags)
    ):
        raise BadCheck(f"tags must be a list of 1 to {MAX_TAGS} names", param="tags")
    for index, tag in enumerate(tags):
        if not isinstance(tag, str) or not _TAG_NAME.fullmatch(tag) or tag in tags[:index]:
            raise BadCheck("a tag is a name, and no name comes twice", param=f"tags[{index}]")
    return tuple(tags)


def _read_count(options: Mapping[str, Any], name: str, most: int) -> int | None:
    if name not in options:
        return None
    value = options[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= most:
        raise BadCheck(f"{name} must be a whole number from 1 to {most}", param=name)
    return value


_CUT = {"length": "truncated", "content_filter": "filtered"}
_TAG = re.compile(r"</?[A-Za-z_][A-Za-z0-9_-]{0,40}>")
_TAG_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
_WORD = re.compile(r"[^\W_]+(?:[.,][0-9]+)*|[-+*/=<>^%×÷±√]")
_STEP = re.compile(
    r"^[ \t>*_#-]{0,12}(?:<\w{1,40}>[ \t]{0,8})?"
    r"(?:step[ \t]+(\d{1,4})[*_]{0,3}[ \t]{0,8}[:.)–—-]?|(\d{1,4})[.)](?=\s))",
    re.IGNORECASE | re.MULTILINE,
)
_SCRATCHPAD = re.compile(r"<(think|thinking|reasoning|scratchpad)>")
_EMPTY_WORDS = frozenset(("step", "the", "a", "an", "then", "next", "now", "so", "and"))
