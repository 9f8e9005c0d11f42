"""A small model first and a big one where its confidence falls short."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean

from app.replay.measure import estimate
from app.replay.play import Played
from app.replay.replay import Replayed, half_of
from app.voting.confidence import Evidence, confidence, fit_calibration
from bench.voting.base import Bench, Line, span


@dataclass(frozen=True)
class Asked:
    """One question in one order: what the small model's group and the big one's came to."""

    question: int
    half: int
    evidence: Evidence
    small_right: bool
    big_right: bool
    big_samples: int
    confidence: float = 0.0


def cascade(bench: Bench) -> Iterator[Line]:
    small, big = ("math_train", "gpt-3.5-turbo(n8)"), ("math_train", "gpt-4(n8)")
    yield split_sent(bench.get(small, rule="fixed", cap=3), bench.get(big, rule="fixed", cap=8))
    for probes in (3, 8):
        for setting, name in (({"rule": "fixed", "cap": 8}, "8"), ({"cap": 8}, "margin, ≤ 8")):
            asked = pair(bench.get(small, cap=probes, rule="fixed"), bench.get(big, **setting))
            yield from cascade_lines(
                asked,
                f"MATH: {probes} GPT-3.5, GPT-4 {name}",
                has_target=probes == 3 and "rule" in setting,
            )


def split_sent(small: Replayed, big: Replayed) -> Line:
    """A route with a fallback and no `max_error`: what three samples of three say is served."""
    gaps, shares = [], []
    for ours, theirs in zip(small.played, in_order_of(small, big), strict=True):
        sent = [not played.evidence.unanimous for played in ours]
        right = [b.right if on else a.right for a, b, on in zip(ours, theirs, sent, strict=True)]
        gaps.append(fmean(right) - fmean(b.right for b in theirs))
        shares.append(fmean(sent))
    difference = estimate(gaps, seed=0)
    return Line(
        "MATH: 3 GPT-3.5, sent on unless all agree; GPT-4 8",
        "≥ GPT-4's vote − 0.2, share sent stated",
        len(gaps),
        f"{span(difference, 100, '+')} pt, sent on {100 * fmean(shares):.1f} %",
        100 * difference.mean >= -0.2,
        {"difference": asdict(difference), "sent": fmean(shares)},
    )


def in_order_of(small: Replayed, big: Replayed) -> list[tuple[Played, ...]]:
    """The big model's questions in the order of the small one's; some ids occur twice."""
    places = defaultdict(list)
    for row, played in zip(big.recording.rows, big.played, strict=True):
        places[row.id].append(played)
    return [places[row.id].pop(0) for row in small.recording.rows]


def pair(small: Replayed, big: Replayed) -> list[Asked]:
    """The same questions of both models, with the confidence in the small one's answer."""
    found = []
    rows = zip(small.recording.rows, small.played, in_order_of(small, big), strict=True)
    for number, (row, played, others) in enumerate(rows):
        for ours, theirs in zip(played, others, strict=True):
            found.append(
                Asked(
                    number, half_of(row.id), ours.evidence, ours.right, theirs.right, theirs.samples
                )
            )
    believed = []
    for half in (0, 1):
        # One order a question: a log has each question once.
        seen = {a.question: a for a in reversed(found) if a.half != half}
        calibration = fit_calibration((a.evidence, a.small_right) for a in seen.values())
        for a in found:
            if a.half == half:
                believed.append(replace(a, confidence=confidence(a.evidence, calibration) or 0.0))
    return believed


def served(asked: Sequence[Asked], threshold: float) -> tuple[float, float, float]:
    """Accuracy, share sent on, and samples of the big model a question."""
    sent = [a.confidence < threshold for a in asked]
    right = fmean(a.big_right if s else a.small_right for a, s in zip(asked, sent, strict=True))
    cost = fmean(a.big_samples if s else 0 for a, s in zip(asked, sent, strict=True))
    return right, fmean(sent), cost


def cascade_lines(asked: list[Asked], what: str, *, has_target: bool) -> Iterator[Line]:
    loss = 0.002
    halves = [[a for a in asked if a.half == half] for half in (0, 1)]
    chosen = []
    for half in halves:  # the threshold that serves the other half
        goal = fmean(a.big_right for a in half) - loss
        steps = [*sorted({a.confidence for a in half}), 2.0]
        chosen.append(next(t for t in steps if served(half, t)[0] >= goal))
    sent = {0: chosen[1], 1: chosen[0]}
    right, gap = defaultdict(list), defaultdict(list)
    shares, costs = [], []
    for a in asked:
        on = a.confidence < sent[a.half]
        shares.append(on)
        costs.append(a.big_samples if on else 0)
        right[a.question].append(a.big_right if on else a.small_right)
        gap[a.question].append((a.big_right if on else a.small_right) - a.big_right)
    difference = estimate([fmean(each) for each in gap.values()], seed=0)
    big = fmean(a.big_right for a in asked)
    curve = []
    for threshold in [i / 20 for i in range(8, 21)]:
        accuracy, share, cost = served(asked, threshold)
        curve.append({"threshold": threshold, "accuracy": accuracy, "sent": share, "samples": cost})
    yield Line(
        what,
        "≥ GPT-4's vote − 0.2, share sent stated" if has_target else "",
        len(gap),
        f"{span(difference, 100, '+')} pt ({100 * fmean(map(fmean, right.values())):.2f} against "
        f"{100 * big:.2f}), sent on {100 * fmean(shares):.1f} %, GPT-4 samples {fmean(costs):.2f}",
        100 * difference.mean >= -0.2 if has_target else None,
        {"difference": asdict(difference), "sent": fmean(shares), "curve": curve},
    )
    said, last = [], None
    for point in curve:
        step = f"{100 * point['sent']:.0f} % → {100 * point['accuracy']:.1f}"
        if step != last:
            said.append(f"{point['threshold']:.2f}: {step}")
        last = step
    yield Line("  threshold: share sent → accuracy", "", len(gap), "; ".join(said), None)
