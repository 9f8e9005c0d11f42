"""The report of a night: one JSON document from what each stage found.

The page shows it, `nights.report` keeps it. Stages that were not reached are null. It holds numbers
and reasons, never a prompt or an answer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from app.retrain.evidence import Outcome, Pair
from app.retrain.gate import GateVerdict
from app.retrain.rollout import CanaryCounts, CanarySettings, canary_step, explain_step
from app.retrain.select import Selection
from app.voting.reliability import reliability_of

REPORT_VERSION = 1

NightStatus = Literal[
    "running", "skipped", "stopped", "refused", "canary", "promoted", "rolled_back", "failed"
]
"""`skipped`: too little to train on; `stopped`: a guard ended the training; `refused`: by the gate;
`rolled_back`: by the canary share or by a person."""

CURVE = ("step", "reward", "loss", "kl", "m2", "ess", "entropy", "grad_norm", "lr", "tokens")
"""What is kept of each training step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """Which night, and how it ended."""

    id: str
    policy: str
    """What it made, or would have made."""
    parent: str
    """What it started from and was compared with."""
    objective: str
    status: NightStatus
    reason: str
    """Why it ended so, in a sentence."""
    started_at: float
    finished_at: float | None = None
    """Unix seconds; None while it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How the canary share went."""

    counts: CanaryCounts
    settings: CanarySettings


def night_report(
    night: Night,
    *,
    selection: Selection | None = None,
    drift: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    steps: Iterable[Mapping[str, Any]] = (),
    verdict: GateVerdict | None = None,
    pairs: Sequence[Pair] = (),
    share: Share | None = None,
    earlier: Iterable[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The whole report.

    `drift` is what `moving.py` says of the traffic that was trained on against that of before;
    `training` is what the trainer wrote at its end and `steps` what it wrote of each step;
    `earlier` are reports of former nights, oldest first.
    """
    points = [point for report in earlier if (point := point_of(report)) is not None]
    return {
        "version": REPORT_VERSION,
        "night": dataclasses.asdict(night),
        "selection": selection and selection.to_json(),
        "drift": drift,
        "training": None
        if training is None
        else {**training, "curve": [{key: step.get(key) for key in CURVE} for step in steps]},
        "gate": verdict and verdict.to_json(),
        "reliability": {
            "incumbent": _reliability(pair.incumbent for pair in pairs),
            "candidate": _reliability(pair.candidate for pair in pairs),
        },
        "canary": share and share_section(share),
        "earlier": points,
    }


def share_section(share: Share) -> dict[str, Any]:
    """What the report says of the canary share."""
    return {
        "step": canary_step(share.counts, share.settings),
        "explained": explain_step(share.counts, share.settings),
        "counts": dataclasses.asdict(share.counts),
        "settings": dataclasses.asdict(share.settings),
    }


def point_of(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """A night in the curve over nights; None when its gate compared nothing."""
    gate = report["gate"]
    primary = gate and gate["metrics"].get(gate["settings"]["primary"])
    if not primary:
        return None
    return {
        "night": report["night"]["id"],
        "policy": report["night"]["policy"],
        "metric": gate["settings"]["primary"],
        "incumbent": primary["incumbent"],
        "candidate": primary["candidate"],
        "low": primary["incumbent"] + primary["low"],
        "high": primary["incumbent"] + primary["high"],
        "promoted": report["night"]["status"] in ("promoted", "canary"),
    }


def history_of(reports: Iterable[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Signs of degeneration of the policies that were promoted, for the next gate."""
    history: dict[str, list[float]] = {}
    for report in reports:
        if report["gate"] and report["night"]["status"] == "promoted":
            for reading in report["gate"]["signs"]:
                history.setdefault(reading["sign"], []).append(reading["candidate"])
    return history


def _reliability(outcomes: Iterable[Outcome]) -> dict[str, Any] | None:
    found = reliability_of([o.believed for o in outcomes if o.believed is not None])
    if found is None:
        return None
    return {
        "bins": [dataclasses.asdict(each) for each in found.bins],
        "answers": found.answers,
        "right": found.right,
        "brier": found.brier,
        "calibration_error": found.calibration_error,
    }
