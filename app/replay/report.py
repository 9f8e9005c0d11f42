"""What `verivote replay` says: the JSON form and the lines of the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from app.replay.measure import Estimate
from app.replay.play import Setting
from app.replay.replay import Difference, Summary
from app.voting.diagram import reliability_svg

HEADINGS = (
    "dataset",
    "model",
    "questions",
    "cap",
    "accuracy %",
    "samples",
    "rounds",
    "tokens",
    "ece",
    "brier",
)
AGAINST = ("Δ accuracy", "Δ samples")


def to_json(
    setting: Setting,
    summaries: Sequence[Summary],
    *,
    against: str | None = None,
    differences: Sequence[Difference] = (),
    pooled: Difference | None = None,
) -> dict[str, Any]:
    """`differences` go with `summaries` one to one; `pooled` is over all of them."""
    groups = [group_json(summary) for summary in summaries]
    for group, difference in zip(groups, differences, strict=False):
        group["difference"] = _difference_json(difference)
    return {
        "rule": setting.rule,
        "margin": setting.margin,
        "scorer": setting.scorer,
        "cap": setting.cap,
        "orders": setting.orders,
        "seed": setting.seed,
        "against": against,
        "groups": groups,
        "mean": {
            "groups": len(groups),
            "accuracy": fmean(group["accuracy"] for group in groups),
            "samples": fmean(group["samples"] for group in groups),
            "rounds": fmean(group["rounds"] for group in groups),
            "difference": _difference_json(pooled) if pooled else None,
        },
    }


def group_json(summary: Summary) -> dict[str, Any]:
    """The fixed keys first, then what only this replay knows. Shares are 0..1."""
    sure = summary.reliability
    return {
        "dataset": summary.dataset,
        "model": summary.model,
        "questions": summary.questions,
        "accuracy": summary.accuracy.mean,
        "samples": summary.samples.mean,
        "rounds": summary.rounds,
        "tokens": summary.tokens,
        "ece": sure.calibration_error if sure else None,
        "brier": sure.brier if sure else None,
        "brier_of_a_constant": sure.constant_brier if sure else None,
        "cap": summary.cap,
        "accuracy_interval": _interval(summary.accuracy),
        "samples_interval": _interval(summary.samples),
        "cancelled": summary.cancelled,
        "null_share": summary.nulls,
        "stopped": dict(summary.stopped),
        "weights": [asdict(each) if each else None for each in summary.weights],
    }


def table_row(summary: Summary, difference: Difference | None = None) -> list[str]:
    found = group_json(summary)
    half = 50 * (summary.accuracy.high - summary.accuracy.low)
    row = [
        summary.dataset,
        summary.model,
        str(summary.questions),
        str(summary.cap),
        f"{100 * summary.accuracy.mean:.1f} ± {half:.1f}",
        f"{summary.samples.mean:.2f}",
        f"{summary.rounds:.2f}",
        f"{summary.tokens:.0f}" if summary.tokens is not None else "-",
        *(f"{found[key]:.3f}" if found[key] is not None else "-" for key in ("ece", "brier")),
    ]
    return row + (difference_cells(difference) if difference else [])


def mean_row(summaries: Sequence[Summary], pooled: Difference | None = None) -> list[str]:
    """The mean over groups, each weighing the same."""
    row = [
        "mean",
        f"{len(summaries)} groups",
        str(sum(summary.questions for summary in summaries)),
        "",
        f"{100 * fmean(summary.accuracy.mean for summary in summaries):.1f}",
        f"{fmean(summary.samples.mean for summary in summaries):.2f}",
        f"{fmean(summary.rounds for summary in summaries):.2f}",
        "",
        "",
        "",
    ]
    return row + (difference_cells(pooled) if pooled else [])


def difference_cells(difference: Difference) -> list[str]:
    """Accuracy in points."""
    right, cost = difference.accuracy, difference.samples
    return [
        f"{100 * right.mean:+.2f} [{100 * right.low:+.2f}, {100 * right.high:+.2f}]",
        f"{cost.mean:+.2f} [{cost.low:+.2f}, {cost.high:+.2f}]",
    ]


def plot(summaries: Sequence[Summary]) -> str:
    """An SVG with a reliability diagram of each group that has confidences."""
    return reliability_svg(
        {f"{each.dataset} / {each.model}": each.diagram for each in summaries if each.diagram}
    )


def _difference_json(difference: Difference) -> dict[str, Any]:
    return {
        "accuracy": difference.accuracy.mean,
        "accuracy_interval": _interval(difference.accuracy),
        "samples": difference.samples.mean,
        "samples_interval": _interval(difference.samples),
    }


def _interval(value: Estimate) -> list[float]:
    """95 %, over questions."""
    return [value.low, value.high]
