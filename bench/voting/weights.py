"""What votes weigh: by length, and by the scores of a reward model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace

from app.plan import VoteWeights
from app.replay.replay import PLAIN, Playing, compare, contested_by_half
from app.voting.weights import MIN_QUESTIONS, fit_slope, within_question_auc
from bench.voting.base import Bench, Line, mean_accuracy, points, span


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
