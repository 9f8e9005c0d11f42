"""Reports of nights that could have been."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from app.retrain.evidence import Outcome, Pair
from app.retrain.gate import GateSettings, GateVerdict, judge
from app.retrain.report import Night, Share, night_report
from app.retrain.rollout import CanaryCounts, CanarySettings
from app.retrain.select import Selection, SelectSettings, select_groups
from app.retrain.sieve import Lineage
from app.voting.reliability import Believed
from tests.retrain.held_out import pairs_of
from tests.retrain.logged import logged
from tests.store.groups import START


def a_night(**changes: Any) -> Night:
    night = Night(
        id="2026-09-22",
        policy="policy-4",
        parent="policy-3",
        objective="tapered",
        status="promoted",
        reason="the gate and the canary share agree",
        started_at=START,
        finished_at=START + 1_140,
    )
    return replace(night, **changes)


@cache
def a_selection() -> Selection:
    log = [logged(i, answers=["42"] * (1 + i % 3) + ["41"] * 3) for i in range(40)]
    log += [logged(100 + i, answers=["42"] * 4) for i in range(25)]
    log += [logged(200 + i, split="gate") for i in range(3)]
    log += [logged(300 + i, change={"logprobs": None}) for i in range(2)]
    lineage = Lineage(parent="policy-3")
    return select_groups(log, lineage, SelectSettings(min_groups=32), seed=0)


@cache
def evidence(before: float, after: float, *, broken: bool = False) -> tuple[Pair, ...]:
    """Held-out prompts with confidences: sure and right go together, not perfectly."""
    rng = random.Random(7)

    def sure(outcome: Outcome) -> Outcome:
        rate = outcome.pass_at_1 or 0.0
        said = min(0.99, max(0.05, rate + rng.gauss(0.05, 0.08)))
        believed = Believed(confidence=said, right=rng.random() < rate)
        return replace(outcome, believed=believed)

    loops = {"change": lambda r: {"finish_reason": "length"} if r.random() < 0.3 else {}}
    pairs = pairs_of(before, after, new=loops if broken else None)
    return tuple(Pair(sure(pair.incumbent), sure(pair.candidate)) for pair in pairs)


@cache
def a_verdict(before: float = 0.4, after: float = 0.6, *, broken: bool = False) -> GateVerdict:
    pairs = evidence(before, after, broken=broken)
    return judge(pairs, GateSettings(), seed=0, kl=0.12, resamples=500)


def some_steps(count: int = 40) -> list[dict[str, Any]]:
    rng = random.Random(3)
    return [
        {
            "step": step,
            "reward": 0.62 - 0.006 * step + rng.gauss(0, 0.02),
            "loss": 0.1,
            "kl": 0.1 * (1 - math.exp(-step / 15)),
            "m2": 0.02,
            "ess": 0.95 - 0.004 * step,
            "entropy": 0.8 - 0.005 * step,
            "grad_norm": 0.3 + abs(rng.gauss(0, 0.1)),
            "lr": 1e-5,
            "tokens": 9_000,
        }
        for step in range(count)
    ]


TRAINED: Mapping[str, Any] = {
    "outcome": "finished",
    "reason": "",
    "steps": 40,
    "metrics": {"seconds": 610.0},
}


def promoted(**changes: Any) -> dict[str, Any]:
    """A night with every stage, after two others."""
    fields: dict[str, Any] = {
        "selection": a_selection(),
        "training": TRAINED,
        "steps": some_steps(),
        "verdict": a_verdict(),
        "pairs": evidence(0.4, 0.6),
        "share": Share(
            counts=CanaryCounts(
                canary_requests=400,
                canary_failures=12,
                incumbent_requests=7_600,
                incumbent_failures=410,
            ),
            settings=CanarySettings(),
        ),
        "earlier": [refused(), first()],
    }
    return night_report(a_night(), **(fields | changes))


def refused() -> dict[str, Any]:
    night = a_night(id="2026-09-20", policy="policy-2", status="refused", reason="")
    verdict = a_verdict(0.4, 0.5, broken=True)
    return night_report(night, training=TRAINED, verdict=verdict)


def first() -> dict[str, Any]:
    night = a_night(id="2026-09-21", policy="policy-3")
    return night_report(night, training=TRAINED, verdict=a_verdict(0.35, 0.5))


def skipped() -> dict[str, Any]:
    night = a_night(status="skipped", reason=a_selection().skip or "too little")
    return night_report(night, selection=a_selection())
