"""How good the confidence is, and what a promise about errors serves, on recorded votes.

Every question is played by the margin rule in `--orders` orders. Then, `--splits` times, its
recording is cut into two halves: a calibration learns from labels of one half (one group a
question, as a log has them) and speaks about every order of the other half, and the other way
round. Given are the mean over the splits and its standard deviation, of

- the calibration error (ECE, ten bins of equal width) of both directions pooled, and of one alone;
- the error that remains when the curve is exactly true (labels drawn from the confidences that all
  questions together give), which is what so few questions let anybody measure;
- the Brier score, and that of a constant that knows the share of right answers.

A promise is tried on `LOGS` logs of `LOG_LABELS` labels each, drawn anew with replacement from all
answers of the recording, which stand for what is asked: for each `max_error` how often a threshold
was found, and over those logs the shares of all answers that were served, and of these that were
wrong, and how often more were wrong than promised.

Nothing that is shipped was fitted on these votes, but for the sources named in
`bench/fit_prior.py`; those are marked.

    python bench/confidence.py DIR [--orders 10] [--splits 20] [--only TEXT] [--json OUT]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # not bench/, where `verifiers` is the folder of other measurements

from app.replay.play import Setting  # noqa: E402
from app.replay.replay import jobs_of  # noqa: E402
from app.replay.rows import Recording, read_recordings  # noqa: E402
from app.voting.confidence import (  # noqa: E402
    MIN_LABELS,
    Calibration,
    Evidence,
    confidence,
    fit_calibration,
)
from app.voting.guarantee import threshold  # noqa: E402
from app.voting.reliability import Believed, reliability_of  # noqa: E402

SHIPPED = ("csqa", "math_test100", "game24")
"""Datasets of which votes are in the prior (and one model of gsm8k, which has too few samples)."""
PROMISES = (0.02, 0.05, 0.1, 0.2, 0.3)
LOGS = 200
LOG_LABELS = 500
LABELS = (100, 400, None)
"""Labels that are learned from; None is all of a half."""

Groups = Sequence[Sequence[tuple[Evidence, bool]]]
"""For every question and order the evidence, and whether the answer was right."""


@dataclass(frozen=True, slots=True)
class Split:
    """One cut, asked both ways."""

    pooled: float
    one_way: float
    brier: float
    constant: float


def play_all(recording: Recording, orders: int) -> Groups:
    setting = Setting(orders=orders)
    return [
        [(played.evidence, played.right) for played in row]
        for job in jobs_of(recording, setting)
        for row in job.run()
    ]


def split(groups: Groups, seed: int, labels: int | None) -> Split | None:
    """None where a half has too few labels for a number."""
    rng = random.Random(seed)
    places = rng.sample(range(len(groups)), len(groups))
    half = len(places) // 2
    halves = places[:half], places[half:]
    order = rng.randrange(len(groups[0]))
    both: list[Believed] = []
    errors = []
    for learned, asked in (halves, halves[::-1]):
        known = [groups[place][order] for place in learned[:labels]]
        calibration = fit_calibration(known)
        if calibration.voted < MIN_LABELS or (labels and len(learned) < labels):
            return None
        spoken = [
            (sure, right)
            for sure, right in answers(calibration, [groups[place] for place in asked])
            if sure is not None
        ]
        believed = [Believed(confidence=sure, right=right) for sure, right in spoken]
        reliability = reliability_of(believed)
        assert reliability is not None
        errors.append(reliability.calibration_error)
        both += believed
    pooled = reliability_of(both)
    assert pooled is not None
    return Split(pooled.calibration_error, fmean(errors), pooled.brier, pooled.constant_brier)


def answers(calibration: Calibration, groups: Groups) -> list[tuple[float | None, bool]]:
    known: dict[Evidence, float | None] = {}
    found = []
    for orders in groups:
        for evidence, right in orders:
            if evidence not in known:
                known[evidence] = confidence(evidence, calibration)
            found.append((known[evidence], right))
    return found


def floor(groups: Groups, splits: int) -> float:
    """The pooled error where the fitted curve is the truth; a question's luck holds for all its
    orders."""
    calibration = fit_calibration(group[0] for group in groups)
    truth = [[sure or 0.0 for sure, _ in answers(calibration, [orders])] for orders in groups]
    found = []
    for seed in range(splits):
        rng = random.Random(f"floor/{seed}")
        drawn = []
        for orders, chances in zip(groups, truth, strict=True):
            luck = rng.random()
            drawn.append(
                [
                    (evidence, luck < chance)
                    for (evidence, _), chance in zip(orders, chances, strict=True)
                ]
            )
        if (result := split(drawn, seed, None)) is not None:
            found.append(result.pooled)
    return fmean(found)


def measure(recording: Recording, orders: int, splits: int) -> list[dict]:
    groups = play_all(recording, orders)
    rows = []
    for labels in LABELS:
        found = [s for seed in range(splits) if (s := split(groups, seed, labels)) is not None]
        if not found:
            continue
        row = {
            "dataset": recording.dataset,
            "model": recording.model,
            "questions": len(groups),
            "in_prior": recording.dataset in SHIPPED,
            "labels": labels or len(groups) // 2,
            "ece": fmean(s.pooled for s in found),
            "ece_sd": pstdev(s.pooled for s in found),
            "ece_one_way": fmean(s.one_way for s in found),
            "brier": fmean(s.brier for s in found),
            "brier_constant": fmean(s.constant for s in found),
        }
        if labels is None:
            row["ece_floor"] = floor(groups, splits)
            row["promises"] = promised(groups)
        rows.append(row)
    return rows


def promised(groups: Groups) -> list[dict]:
    everything = [pair for orders in groups for pair in orders]
    kinds = Counter(evidence for evidence, _ in everything)
    right = Counter(evidence for evidence, is_right in everything if is_right)
    found: dict[float, list[tuple[float, float]]] = {promise: [] for promise in PROMISES}
    for seed in range(LOGS):
        rng = random.Random(f"log/{seed}")
        calibration = fit_calibration(rng.choices(everything, k=LOG_LABELS))
        sure = {evidence: confidence(evidence, calibration) or 0.0 for evidence in kinds}
        for promise, kept in found.items():
            if (needed := threshold(calibration, promise)) is not None:
                served = [evidence for evidence in kinds if sure[evidence] >= needed]
                total = sum(kinds[evidence] for evidence in served)
                wrong = 1 - sum(right[evidence] for evidence in served) / total
                kept.append((total / len(everything), wrong))
    return [
        {
            "max_error": promise,
            "logs": LOGS,
            "with_threshold": len(kept),
            "served": fmean(share for share, _ in kept) if kept else 0.0,
            "wrong": fmean(wrong for _, wrong in kept) if kept else None,
            "broken": sum(wrong > promise for _, wrong in kept),
        }
        for promise, kept in found.items()
    ]


def show(rows: Sequence[dict]) -> None:
    print(
        f"{'dataset / model':38} {'labels':>6} {'ECE ± sd':>13} {'one way':>8} {'floor':>6} "
        f"{'Brier':>6} {'const':>6}"
    )
    for row in rows:
        name = f"{row['dataset']} / {row['model']}"[:36] + (" *" if row["in_prior"] else "")
        least = f"{row['ece_floor']:.3f}" if "ece_floor" in row else ""
        print(
            f"{name:38} {row['labels']:6} {row['ece']:.3f} ± {row['ece_sd']:.3f} "
            f"{row['ece_one_way']:8.3f} {least:>6} {row['brier']:6.3f} {row['brier_constant']:6.3f}"
        )
    print("\n* its votes are among those that the prior was fitted on\n")
    print(
        f"{'dataset / model':38} {'max_error':>9} {'threshold':>10} {'served':>7} {'wrong':>7} "
        f"{'broken':>7}"
    )
    for row in rows:
        for each in row.get("promises", ()):
            name = f"{row['dataset']} / {row['model']}"[:36] + (" *" if row["in_prior"] else "")
            wrong = f"{100 * each['wrong']:.1f} %" if each["wrong"] is not None else "-"
            print(
                f"{name:38} {each['max_error']:9.2f} "
                f"{each['with_threshold']:6}/{each['logs']:<4}"
                f"{100 * each['served']:5.1f} % {wrong:>7} {each['broken']:3}/{each['logs']}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="folder of the recorded samples")
    parser.add_argument("--orders", type=int, default=10)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--only", default="", help="recordings whose name contains this")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    rows: list[dict] = []
    for recording in read_recordings([options.directory]):
        name = f"{recording.dataset} / {recording.model}"
        if options.only in name and len(recording.rows) >= 2 * MIN_LABELS and recording.deepest > 4:
            print(name, file=sys.stderr)
            rows += measure(recording, options.orders, options.splits)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    print(f"{machine}; margin rule, {options.orders} orders, {options.splits} splits\n")
    show(rows)
    if options.json:
        found = {"machine": machine, "orders": options.orders, "splits": options.splits}
        options.json.write_text(json.dumps({**found, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
