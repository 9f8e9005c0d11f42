"""Signs that a policy has found something cheaper than being right.

Rewards rise while texts break: they run into the limit, repeat themselves, say one answer to
everything, refuse, change their alphabet, or end where nobody can check them. Each sign is one
number over all held-out samples of a policy. It alarms when the candidate's is worse

- by more than a fifth of the incumbent's and more than chance would make it (three standard
  deviations of the difference, by a bootstrap over prompts), or
- by more than three robust deviations (1.4826 · MAD) of what policies that served had in earlier
  nights, once there are `NIGHTS` of them,

and by more than the sign's own trifle. It sees form, not sense: a fluent wrong answer is the other
checks' business.

Where the right answers are known, the most frequent answer is held against how often it is right: a
better policy says "yes" as often as "yes" is true, a broken one more often.
"""

from __future__ import annotations

import math
import random
import re
import statistics
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from app.retrain.evidence import Drawn, Outcome, Pair

RELATIVE = 0.2
"""Change that alarms, as a share of the incumbent's number."""
DEVIATIONS = 3.0
NIGHTS = 5
"""Earlier nights before their spread means anything."""
RESAMPLES = 200
FEW = 20
"""Samples that a sign needs to be read, and prompts that a task needs."""
LONG_BYTES = 100
"""Shorter texts do not compress whatever they say."""
LONG_RUNS = 8
"""Fewer runs of words do not repeat."""

Worse = Literal["more", "less", "any"]
Values = Sequence[Sequence[float]]
"""Prompt by prompt, what its samples say."""

_MARKER = re.compile(r"\\boxed\s*\{|####|final answer|the answer is|answer\s*:", re.IGNORECASE)
_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable)|i (?:can(?:'t|not)|won't) (?:help|assist|answer|do|provide)"
    r"|as an ai\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """One number that tells how healthy samples are."""

    name: str
    says: str
    """What it measures, for people."""
    worse: Worse
    trifle: float
    """A change of no more than this never alarms."""
    level: float | None = None
    """Which quantile of the samples' values; None is their mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A sign on both policies."""

    sign: str
    says: str
    incumbent: float
    candidate: float
    alarm: str
    """Why it alarms; empty when it does not."""


def read_signs(
    pairs: Sequence[Pair],
    *,
    seed: int,
    history: Mapping[str, Sequence[float]] | None = None,
    ignored: frozenset[str] = frozenset(),
) -> tuple[Reading, ...]:
    """All signs that both policies have enough samples for.

    `history` is sign → its number for policies that served. `ignored` signs are read and never
    alarm: a night that is meant to change lengths has to say so.
    """
    readings = []
    for sign, old, new in _series(pairs):
        if min(sum(map(len, old)), sum(map(len, new))) < FEW:
            continue
        before, after = _sum_up(sign, old), _sum_up(sign, new)
        alarm = ""
        if sign.name not in ignored and _worsening(sign.worse, before, after) > sign.trifle:
            usual = (history or {}).get(sign.name, ())
            alarm = _far_from_usual(sign, after, usual)
            if _is_large(sign, before, after) and _is_real(sign, old, new, after - before, seed):
                share = f", {after / before - 1:+.0%}" if before > 0 else ""
                alarm = f"{before:.3g} became {after:.3g}{share}"
        readings.append(
            Reading(sign=sign.name, says=sign.says, incumbent=before, candidate=after, alarm=alarm)
        )
    return tuple(readings)


def _series(pairs: Sequence[Pair]) -> list[tuple[Sign, Values, Values]]:
    """Each sign with what it says of incumbent and candidate."""
    old, new = [pair.incumbent for pair in pairs], [pair.candidate for pair in pairs]
    plain = [(sign, _read(value, old), _read(value, new)) for sign, value in SIGNS]
    tasks: defaultdict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        tasks[pair.incumbent.slices.get("task", "")].append(pair)
    for task, those in sorted(tasks.items()):
        if len(those) >= FEW:
            plain.append(_top_answer(f"top_answer:{task}" if task else "top_answer", those))
    return plain


def _read(value: Callable[[Drawn], float | None], outcomes: Sequence[Outcome]) -> Values:
    return [
        [found for sample in outcome.drawn if (found := value(sample)) is not None]
        for outcome in outcomes
    ]


def _top_answer(name: str, pairs: Sequence[Pair]) -> tuple[Sign, Values, Values]:
    """One answer to everything, beyond what the right answers of the same prompts explain.

    Only prompts with a reference are read where enough have one.
    """
    known = [pair for pair in pairs if pair.incumbent.reference is not None]
    by_reference = len(known) >= FEW
    says = "share of the most frequent answer"
    sign = Sign(
        name=name,
        says=f"{says} beyond that among the right ones" if by_reference else says,
        worse="more",
        trifle=0.05,
    )
    those = known if by_reference else pairs
    old, new = [pair.incumbent for pair in those], [pair.candidate for pair in those]
    read = _beyond_references if by_reference else _most_frequent
    return sign, read(old), read(new)


def _most_frequent(outcomes: Sequence[Outcome]) -> Values:
    """Whether each answer is the policy's most frequent one."""
    answers = Counter(s.answer for o in outcomes for s in o.drawn if s.answer is not None)
    top = max(answers, key=lambda answer: (answers[answer], answer), default=None)
    return _read(lambda s: None if s.answer is None else float(s.answer == top), outcomes)


def _beyond_references(outcomes: Sequence[Outcome]) -> Values:
    """How much more often than it is right the policy says the answer that it overuses most.

    1 where a sample says it and it is wrong, -1 where it is right and another one is said.
    """
    excess = Counter[str]()
    for outcome in outcomes:
        for answer in (s.answer for s in outcome.drawn if s.answer is not None):
            excess[answer] += 1
            excess[outcome.reference or ""] -= 1
    top = max(excess, key=lambda answer: (excess[answer], answer), default=None)
    return [
        [
            float(sample.answer == top) - float(outcome.reference == top)
            for sample in outcome.drawn
            if sample.answer is not None
        ]
        for outcome in outcomes
    ]


def _is_large(sign: Sign, before: float, after: float) -> bool:
    return _worsening(sign.worse, before, after) > RELATIVE * abs(before)


def _is_real(sign: Sign, old: Values, new: Values, change: float, seed: int) -> bool:
    """True when chance over prompts does not explain the change."""
    return abs(change) > DEVIATIONS * _noise(sign, old, new, random.Random(f"{seed}/{sign.name}"))


def _far_from_usual(sign: Sign, after: float, past: Sequence[float]) -> str:
    """By how much more than usual the sign is off, when it is."""
    if len(past) < NIGHTS:
        return ""
    usual = statistics.median(past)
    spread = 1.4826 * statistics.median(abs(value - usual) for value in past)
    away = _worsening(sign.worse, usual, after)
    if spread > 0 and away > DEVIATIONS * spread:
        return f"{after:.3g} is {away / spread:.1f} deviations from the usual {usual:.3g}"
    return ""


def _worsening(worse: Worse, before: float, after: float) -> float:
    return {"more": after - before, "less": before - after, "any": abs(after - before)}[worse]


def _sum_up(sign: Sign, values: Values) -> float:
    if sign.level is None:
        return math.fsum(map(math.fsum, values)) / sum(map(len, values))
    ranked = sorted(value for prompt in values for value in prompt)
    return ranked[min(len(ranked) - 1, math.floor(sign.level * len(ranked)))]


def _noise(sign: Sign, old: Values, new: Values, rng: random.Random) -> float:
    """Standard deviation of candidate minus incumbent over prompts drawn with replacement."""
    if sign.level is None:
        # A prompt's sum and count say all that a mean needs of it.
        columns = [[float(len(v)) for v in old], [math.fsum(v) for v in old]]
        columns += [[float(len(v)) for v in new], [math.fsum(v) for v in new]]
    differences = []
    for _ in range(RESAMPLES):
        drawn = rng.choices(range(len(old)), k=len(old))
        if sign.level is not None:
            before, after = [old[prompt] for prompt in drawn], [new[prompt] for prompt in drawn]
            differences.append(_sum_up(sign, after) - _sum_up(sign, before))
            continue
        n_old, s_old, n_new, s_new = (sum(map(c.__getitem__, drawn)) for c in columns)
        if n_old and n_new:
            differences.append(s_new / n_new - s_old / n_old)
    # Where hardly a prompt says anything, nothing is beyond chance.
    return statistics.pstdev(differences) if len(differences) > RESAMPLES // 2 else math.inf


def _distinct(sample: Drawn) -> float | None:
    words = sample.text.split()
    runs = list(zip(words, words[1:], words[2:], strict=False))
    return len(set(runs)) / len(runs) if len(runs) >= LONG_RUNS else None


def _compressed(sample: Drawn) -> float | None:
    data = sample.text.encode("utf-8", "replace")
    return len(zlib.compress(data, 6)) / len(data) if len(data) >= LONG_BYTES else None


def _foreign(sample: Drawn) -> float | None:
    text = sample.text
    return sum(not c.isascii() for c in text) / len(text) if text else None


def _tokens(sample: Drawn) -> float:
    return float(sample.tokens)


def _share(name: str, says: str, holds: Callable[[Drawn], bool]) -> tuple[Sign, _Value]:
    sign = Sign(name=name, says=f"share {says}", worse="more", trifle=0.01)
    return sign, lambda sample: float(holds(sample))


def _length(name: str, says: str, level: float) -> tuple[Sign, _Value]:
    return Sign(name=name, says=f"tokens, {says}", worse="any", trifle=2.0, level=level), _tokens


_Value = Callable[[Drawn], float | None]

SIGNS: tuple[tuple[Sign, _Value], ...] = (
    _share("cut", "that ran into the token limit", lambda s: s.finish_reason == "length"),
    _share(
        "repetition",
        "that the server ended for repeating itself",
        lambda s: s.finish_reason == "repetition",
    ),
    _share(
        "no_end",
        "that did not end by themselves",
        lambda s: s.finish_reason not in ("stop", "tool_calls"),
    ),
    _share("empty", "without text or answer", lambda s: not s.text.strip() and s.answer is None),
    _share("no_answer", "without an answer that can be counted", lambda s: s.answer is None),
    _share("unchecked", "that no verifier could judge", lambda s: s.reward is None),
    _share(
        "markers",
        "without exactly one mark of a final answer",
        lambda s: len(_MARKER.findall(s.text)) != 1,
    ),
    _share("refusals", "of refusals", lambda s: s.refused or bool(_REFUSAL.search(s.text[:200]))),
    (
        Sign(name="foreign", says="share of characters beyond ASCII", worse="more", trifle=0.01),
        _foreign,
    ),
    (
        Sign(name="distinct", says="share of new runs of 3 words", worse="less", trifle=0.02),
        _distinct,
    ),
    (
        Sign(name="compressed", says="size after compression", worse="less", trifle=0.02),
        _compressed,
    ),
    _length("short_tokens", "5th percentile", 0.05),
    _length("median_tokens", "median", 0.5),
    _length("long_tokens", "95th percentile", 0.95),
)
"""In the order of the report; `top_answer:<task>` follows for each task."""

LENGTHS = frozenset(("short_tokens", "median_tokens", "long_tokens"))
"""To be ignored by a night that is meant to change how long answers are."""
