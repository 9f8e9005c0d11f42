"""What the stop rules, the weights and the cascade answer on recorded samples, against targets.

Everything is replayed by the production code (`verivote replay`), in ten seeded orders a question,
on the rows in ../shared/data/recorded. Intervals are 95 %, by a bootstrap over questions; those of
differences are paired. Where a calibration, a threshold or weights are needed, they are fitted on
one half of the questions and used on the other, both ways. Accuracies are in per cent, differences
in points. A row that misses its target says so.

    python bench/voting.py [--data DIR] [--orders 10] [--jobs N] [--json OUT]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # not bench/, where `verifiers` is the folder of other measurements

from app.plan import VoteWeights  # noqa: E402
from app.replay.measure import Estimate, estimate  # noqa: E402
from app.replay.play import DEEPEST, Played, Setting, shuffled  # noqa: E402
from app.replay.processes import processes  # noqa: E402
from app.replay.replay import (  # noqa: E402
    PLAIN,
    Difference,
    Playing,
    Replayed,
    Run,
    compare,
    contested_by_half,
    half_of,
    replay_all,
    replay_each,
    summarise,
)
from app.replay.rows import Recording, read_recordings  # noqa: E402
from app.voting.confidence import Evidence, confidence, fit_calibration  # noqa: E402
from app.voting.weights import MIN_QUESTIONS, fit_slope, within_question_auc  # noqa: E402

NO_ANSWER_SETS = ("folio", "game24", "proofwriter")
"""Left out of means: voting is near chance there, or does not decide at all."""
TEN = 10
MANY_ORDERS = 100
"""Where groups are so small that ten orders move them by points."""


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    what: str
    target: str
    n: int
    """Questions."""
    found: str
    met: bool | None
    """None: for comparison, or a number that has no target."""
    data: dict[str, Any] = field(default_factory=dict)


class Bench:
    """The recordings, and every replay made once."""

    def __init__(self, recordings: Sequence[Recording], orders: int, run: Run) -> None:
        self.recordings = {(r.dataset, r.model): r for r in recordings}
        self.plain = Setting(orders=orders)
        self._run = run
        self._made: dict[tuple[str, str, Setting], Replayed] = {}

    def get(self, group: tuple[str, str], **setting: Any) -> Replayed:
        return self.all([group], **setting)[0]

    def all(self, groups: Sequence[tuple[str, str]], **setting: Any) -> list[Replayed]:
        """The groups under a setting, in parallel where they were not played yet."""
        wanted = replace(self.plain, **setting)
        missing = [group for group in groups if (*group, wanted) not in self._made]
        if missing:
            (found,) = replay_all([self.recordings[g] for g in missing], [wanted], self._run)
            self._made |= {(*g, wanted): each for g, each in zip(missing, found, strict=True)}
        return [self._made[*group, wanted] for group in groups]

    def each(self, wanted: Sequence[Playing]) -> list[Replayed]:
        return replay_each(wanted, self._run)

    def deep_groups(self) -> list[tuple[str, str]]:
        """With at least twenty samples, where voting decides something."""
        return [
            name
            for name, recording in self.recordings.items()
            if recording.deepest >= 20 and recording.dataset not in NO_ANSWER_SETS
        ]


def span(value: Estimate, scale: float = 1.0, sign: str = "") -> str:
    return (
        f"{scale * value.mean:{sign}.2f} [{scale * value.low:{sign}.2f}, "
        f"{scale * value.high:{sign}.2f}]"
    )


def points(difference: Difference) -> str:
    return f"{span(difference.accuracy, 100, '+')} pt"


def mean_rounds(replayed: Sequence[Replayed]) -> float:
    return fmean(
        fmean(fmean(p.rounds for p in orders) for orders in each.played) for each in replayed
    )


def mean_samples(replayed: Sequence[Replayed]) -> float:
    return fmean(fmean(each.samples) for each in replayed)


def mean_accuracy(replayed: Sequence[Replayed]) -> float:
    return fmean(fmean(each.accuracy) for each in replayed)


def against_all(
    what: str,
    ours: Sequence[Replayed],
    fixed: Sequence[Replayed],
    *,
    loss: float,
    most: float | None,
    rounds: float | None = None,
    most_is: str = "",
) -> Line:
    """A rule against drawing everything: at most `loss` points for at most `most` samples."""
    difference = compare(ours, fixed)
    samples, took = mean_samples(ours), mean_rounds(ours)
    target = f"≥ SC@cap − {loss:g}"
    met = 100 * difference.accuracy.mean >= -loss
    if most is not None:
        target += f" at ≤ {most:.2f} samples" + (f" ({most_is})" if most_is else "")
        met = met and samples <= most + 1e-9
    if rounds is not None:
        target += f", ≤ {rounds:g} rounds"
        met = met and took <= rounds
    return Line(
        what=what,
        target=target,
        n=sum(len(each.recording.rows) for each in ours),
        found=f"{points(difference)} ({100 * mean_accuracy(ours):.2f} against "
        f"{100 * mean_accuracy(fixed):.2f}) at {samples:.2f} samples, {took:.2f} rounds"
        + (blocks_met(ours, fixed, loss=loss) if loss else ""),
        met=met,
        data={
            "difference": asdict(difference),
            "accuracy": mean_accuracy(ours),
            "samples": samples,
            "rounds": took,
        },
    )


def blocks_met(ours: Sequence[Replayed], fixed: Sequence[Replayed], *, loss: float) -> str:
    """How often ten of the orders alone would have met the target: what luck does to it."""
    orders = ours[0].setting.orders
    met = 0
    for first in range(0, orders, TEN):
        gaps = [
            fmean(
                fmean(p.right for p in a[first : first + TEN])
                - fmean(p.right for p in b[first : first + TEN])
                for a, b in zip(x.played, y.played, strict=True)
            )
            for x, y in zip(ours, fixed, strict=True)
        ]
        met += 100 * fmean(gaps) >= -loss
    return f"; met in {met} of {orders // TEN} blocks of ten orders" if orders > TEN else ""


def compared(what: str, ours: Sequence[Replayed], fixed: Sequence[Replayed]) -> Line:
    """The same without a target."""
    line = against_all(what, ours, fixed, loss=0, most=None)
    return replace(line, target="", met=None)


def tokens_of(replayed: Replayed) -> float:
    return fmean(p.tokens or 0 for orders in replayed.played for p in orders)


def gsm8k(bench: Bench) -> Iterator[Line]:
    group = ("gsm8k", "gpt-4o-mini")
    fixed, ours = bench.get(group, rule="fixed"), bench.get(group)
    yield against_all("GSM8K gpt-4o-mini: margin", [ours], [fixed], loss=0.2, most=4.0, rounds=1.5)
    yield compared("  its weights by length", [bench.get(group, scorer="length")], [fixed])
    for rule in ("adaptive", "esc"):
        yield compared(f"  {rule}", [bench.get(group, rule=rule)], [fixed])
    yield Line(
        "  tokens a question",
        "≤ 540",
        len(ours.played),
        f"{tokens_of(ours):.0f}",
        tokens_of(ours) <= 540,
    )


def medqa(bench: Bench) -> Iterator[Line]:
    group = ("medqa", "gpt-4o-mini")
    fixed, ours = bench.get(group, rule="fixed"), bench.get(group)
    yield against_all("MedQA gpt-4o-mini: margin", [ours], [fixed], loss=0.2, most=4.4)
    for rule in ("adaptive", "esc"):
        yield compared(f"  {rule}", [bench.get(group, rule=rule)], [fixed])
    for name in (group, ("gsm8k", "gpt-4o-mini")):
        sure = summarise(bench.get(name)).reliability
        assert sure is not None
        error = sure.calibration_error
        target = 0.03 if name == group else None
        yield Line(
            f"  calibration error, {name[0]} (half/half)",
            f"ECE ≤ {target}" if target else "",
            len(bench.recordings[name].rows),
            f"ECE {error:.4f}, Brier {sure.brier:.4f} (constant {sure.constant_brier:.4f})",
            error <= target if target else None,
            {"ece": error, "brier": sure.brier, "constant_brier": sure.constant_brier},
        )


def deep(bench: Bench) -> Iterator[Line]:
    """The mean over the deep groups; the limit is what the margin costs drawn one by one."""
    groups = bench.deep_groups()
    for orders in (MANY_ORDERS, bench.plain.orders):
        # `exact` answers what `fixed` does, and is played in half the time.
        rule = "exact" if orders == MANY_ORDERS else "fixed"
        fixed = bench.all(groups, rule=rule, orders=orders)
        margin = bench.all(groups, orders=orders)
        both = bench.all(groups, rule="two_kinds", orders=orders)
        weighed = bench.all(groups, rule="two_kinds", scorer="length", orders=orders)
        for what, ours in (
            ("margin", margin),
            ("two_kinds where both were recorded", both),
            ("  and weights by length", weighed),
        ):
            name = f"{len(groups)} groups of ≥ 20, {orders} orders: {what}"
            yield against_all(
                name, ours, fixed, loss=0.2, most=mean_samples(margin), most_is="margin's"
            )
    for rule in ("adaptive", "esc", "certified"):
        yield compared(f"  {rule}", bench.all(groups, rule=rule), fixed)
    for margin_ in (2, 4):
        yield compared(f"  margin of {margin_}", bench.all(groups, margin=margin_), fixed)


def weak_spots(bench: Bench) -> Iterator[Line]:
    """Where the margin of three loses most."""
    for group, loss in (
        (("gsm8k", "qwen2.5-1.5b-instruct(T0.5/0.7/1.0)"), 0.5),
        (("aime24", "o3-mini-low"), 1.0),
    ):
        for orders in (bench.plain.orders, MANY_ORDERS):
            fixed = bench.get(group, rule="fixed", orders=orders)
            adaptive = bench.get(group, rule="adaptive", orders=orders)
            most = 0.8 * mean_samples([adaptive])
            name = f"{group[0]} {group[1].split('(')[0]}, {orders} orders: margin"
            yield against_all(
                name,
                [bench.get(group, orders=orders)],
                [fixed],
                loss=loss,
                most=most,
                most_is="80 % of adaptive's",
            )
            yield compared("  margin of 4", [bench.get(group, orders=orders, margin=4)], [fixed])
            yield compared("  adaptive", [adaptive], [fixed])


def public_numbers(bench: Bench) -> Iterator[Line]:
    """Two more claims of other people's replays."""
    group = ("last_letters", "gpt-3.5-turbo(T0.7)")
    fixed, ours = bench.get(group, rule="fixed"), bench.get(group)
    yield against_all(
        "Last Letters gpt-3.5-turbo: margin (ESC saves 67.4 %)", [ours], [fixed], loss=0.2, most=4.0
    )
    group = ("gpqa_diamond", "o3-mini-low")
    fixed, ours = bench.get(group, rule="fixed"), bench.get(group)
    yield against_all("GPQA o3-mini-low: margin (mSPRT: 5.12)", [ours], [fixed], loss=0.2, most=5.1)


def checker(bench: Bench) -> Iterator[Line]:
    """A decisive verifier in the loop: as good and as cheap as stopping at the first right one."""
    for group in bench.recordings:
        if group[0] != "game24":
            continue
        ours = bench.get(group)
        solved, needed = [], []
        for row in ours.recording.rows:
            for order in range(ours.setting.orders):
                drawn = shuffled(row, ours.setting, order)[0][:DEEPEST]
                first = next((i for i, s in enumerate(drawn, 1) if s.correct), None)
                solved.append(first is not None)
                needed.append(first or len(drawn))
        right, samples = mean_accuracy([ours]), mean_samples([ours])
        cancelled = fmean(p.cancelled for orders in ours.played for p in orders)
        yield Line(
            f"Game of 24 {group[1]}: exact checker",
            f"= pass@cap {100 * fmean(solved):.2f} at the oracle's {fmean(needed):.2f} samples",
            len(ours.played),
            f"{100 * right:.2f} at {samples:.2f} samples (and {cancelled:.2f} cancelled in flight)",
            abs(right - fmean(solved)) < 1e-9 and abs(samples - fmean(needed)) < 1e-9,
            {"accuracy": right, "samples": samples, "cancelled": cancelled},
        )


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


def kinds(bench: Bench) -> Iterator[Line]:
    """A text and a program, on the six sets of the mixture of thoughts."""
    groups = [name for name in bench.recordings if name[1] == "gpt-4(MoT 4x3)"]
    fixed = bench.all(groups, rule="fixed")
    margin = bench.all(groups)
    ours = bench.all(groups, rule="two_kinds")
    yield replace(
        against_all("six GPT-4 sets: two_kinds", ours, fixed, loss=0.3, most=mean_samples(margin)),
        target="SC@12 ± 0.3 at fewer samples than margin",
    )
    yield compared("  margin", margin, fixed)
    more = compare(ours, margin)
    yield Line(
        "  two_kinds minus margin",
        "",
        sum(len(r.played) for r in ours),
        f"{points(more)}, {span(more.samples, 1, '+')} samples",
        None,
        {"difference": asdict(more)},
    )
    pairs = fmean(fmean(p.samples == 2 for orders in each.played for p in orders) for each in ours)
    yield Line(
        "  questions done with two samples",
        "> 78.6 %",
        sum(len(r.played) for r in ours),
        f"{100 * pairs:.1f} %",
        pairs > 0.786,
        {"share": pairs},
    )
    for group, two, all_ in zip(groups, ours, fixed, strict=True):
        yield compared(f"  {group[0]}", [two], [all_])


def modes(bench: Bench) -> Iterator[Line]:
    """`exact` gives the very answer of the whole budget; `certified` says "most frequent"."""
    groups = bench.deep_groups()
    fixed, exact = bench.all(groups, rule="fixed"), bench.all(groups, rule="exact")
    certified, margin = bench.all(groups, rule="certified"), bench.all(groups)
    same = all(a.accuracy == b.accuracy for a, b in zip(exact, fixed, strict=True))
    share = mean_samples(exact) / mean_samples(fixed)
    yield Line(
        "exact: same answers as all samples",
        "same, at 57–85 % of the samples",
        sum(len(r.played) for r in exact),
        f"{'the same' if same else 'DIFFERENT'}, at {100 * share:.0f} %",
        same and share <= 0.85,
    )
    times = mean_samples(certified) / mean_samples(margin)
    yield Line(
        "certified: cost against margin",
        "about 3 ×",
        sum(len(r.played) for r in exact),
        f"{times:.2f} ×",
        None,
        {"times": times},
    )


def tokens(bench: Bench) -> Iterator[Line]:
    for group in bench.recordings:
        if summarise(bench.get(group)).tokens is None:
            continue
        found = {
            rule: tokens_of(bench.get(group, rule=rule))
            for rule in ("fixed", "adaptive", "esc", "margin")
        }
        yield Line(
            f"tokens, {group[0]} {group[1]}",
            "",
            len(bench.get(group).played),
            " → ".join(f"{rule} {value:,.0f}" for rule, value in found.items()),
            None,
            found,
        )


def weights(bench: Bench) -> Iterator[Line]:
    """By length wherever that earned weights, and by a reward model on the one set that has one."""
    earned = []
    for group in bench.recordings:
        ours = bench.get(group, scorer="length")
        if ours.weights == PLAIN:
            continue
        earned.append(group)
        more = compare([ours], [bench.get(group)])
        aucs = ", ".join(f"{w.auc:.2f} on {w.questions}" if w else "-" for w in ours.weights)
        yield Line(
            f"weights by length, {group[0]} {group[1]}",
            "no worse at fewer samples",
            len(ours.played),
            f"{points(more)}, {span(more.samples, 1, '+')} samples (AUC {aucs})",
            more.accuracy.mean >= 0 and more.samples.mean < 0,
            {"difference": asdict(more)},
        )
    yield Line(
        "  groups in which length earned weights",
        "",
        len(bench.recordings),
        f"{len(earned)} of {len(bench.recordings)}",
        None,
    )
    yield from reward_model(bench)


def reward_model(bench: Bench) -> Iterator[Line]:
    """Scores of a reward model for all eight samples: too few questions to earn weights, so what
    they would do is shown with the slope fitted all the same."""
    group = ("math_test100", "qwen2.5-math example set + RM scores (n8)")
    plain = bench.get(group, rule="fixed")
    setting = replace(plain.setting, scorer="verifiers", orders=1)
    (log,) = bench.each([Playing(recording=plain.recording, setting=setting)])
    known = contested_by_half(log)
    forced = tuple(
        VoteWeights(
            scorer="verifiers", slope=fit_slope(k), auc=within_question_auc(k), questions=len(k)
        )
        for k in known
    )
    (weighed,) = bench.each(
        [Playing(recording=plain.recording, setting=plain.setting, weights=forced)]
    )
    yield Line(
        "reward model, MATH test set, all 8 (half/half)",
        "public: vote 92.3, weighted 94.0",
        len(plain.played),
        f"vote {100 * mean_accuracy([plain]):.1f}, weighed {100 * mean_accuracy([weighed]):.1f}"
        f" ({points(compare([weighed], [plain]))}); not served: "
        f"{' and '.join(str(len(k)) for k in known)} contested questions, "
        f"{MIN_QUESTIONS} are asked for",
        None,
    )


SECTIONS: dict[str, Callable[[Bench], Iterator[Line]]] = {
    "gsm8k": gsm8k,
    "medqa": medqa,
    "deep": deep,
    "weak_spots": weak_spots,
    "checker": checker,
    "cascade": cascade,
    "kinds": kinds,
    "weights": weights,
    "modes": modes,
    "public": public_numbers,
    "tokens": tokens,
}


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/recorded")
    parser.add_argument("--orders", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    begun = time.perf_counter()
    machine = {"cpus": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    recordings = read_recordings([given.data])
    say(f"{sum(len(r.rows) for r in recordings)} questions of {len(recordings)} groups; {machine}")
    lines: list[Line] = []
    with processes(given.jobs) as run:
        bench = Bench(recordings, given.orders, run)
        for name in given.sections or SECTIONS:
            for line in SECTIONS[name](bench):
                mark = {True: "met ", False: "MISS", None: "    "}[line.met]
                target = f"   [{line.target}]" if line.target else ""
                say(f"{mark} {line.what} (n = {line.n}): {line.found}{target}")
                lines.append(line)
    missed = [line.what for line in lines if line.met is False]
    seconds = time.perf_counter() - begun
    say(f"{sum(line.met is True for line in lines)} targets met, {len(missed)} missed: {missed}")
    say(f"{seconds:.0f} s")
    if given.json:
        found = {
            "machine": machine,
            "orders": given.orders,
            "seconds": seconds,
            "rows": [asdict(line) for line in lines],
        }
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
