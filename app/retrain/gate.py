"""The gate: may the new policy serve?

Promote only when all hold: (a) it is better on the primary metric beyond luck, or as good and
cheaper; (b) no slice of the traffic got worse; (c) verifiers that it was not trained on see at
least half of the gain; (d) its texts show no sign of degeneration; (e) it has not gone further from
the incumbent than the budget. α is .01 because a gate that opens every night at .05 would let
eighteen false wins a year through.
Without a hidden verifier (c) decides nothing, which is told; an unmeasured KL refuses.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from app.retrain.degeneration import Reading, read_signs
from app.retrain.evidence import Pair
from app.retrain.measures import (
    METRICS,
    Measure,
    SliceMeasure,
    both_of,
    measure,
    measure_slices,
)
from app.retrain.paired import RESAMPLES, smallest_found

Primary = Literal["pass_at_1", "vote", "verified", "greedy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """What a policy has to show."""

    primary: Primary = "pass_at_1"
    alpha: float = 0.01
    """One-sided."""
    min_prompts: int = 200
    """Held-out prompts, near-duplicates counted once, that verifiers must have judged for both."""
    max_unchecked: float = 0.1
    """Share of the prompts that may be left out because nothing could be judged."""
    token_saving: float = 0.1
    """A candidate that is only as good has to need this much less of its tokens."""
    as_good: float = 0.005
    """How far below the incumbent the lower 99 % bound of "as good" may lie."""
    slice_margin: float = 0.02
    """How far below the incumbent the lower 95 % bound of any slice may lie."""
    min_slice: int = 50
    """Smaller slices are pooled."""
    hidden_share: float = 0.5
    """Share of the gain that hidden verifiers must see too."""
    kl_budget: float = 0.5
    """Nats a token. Where the same objectives were tried on a tiny model, good nights had up to
    0.3 and collapsing ones 5 and more."""
    ignored_signs: frozenset[str] = frozenset()
    """Signs of degeneration that never alarm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One condition of the promotion."""

    name: Literal["enough", "better", "slices", "hidden", "degeneration", "kl"]
    passed: bool | None
    """None: there was nothing to decide it by, which is told and does not refuse."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict:
    """Whether the candidate may serve, and all that was looked at."""

    promote: bool
    reasons: tuple[str, ...]
    """Why not, one for each condition that failed; when promoted, why."""
    checks: tuple[Check, ...]
    metrics: Mapping[str, Measure]
    slices: tuple[SliceMeasure, ...]
    signs: tuple[Reading, ...]
    settings: GateSettings = field(default_factory=GateSettings)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; numbers that are not finite become null."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        return plain


def judge(
    pairs: Sequence[Pair],
    settings: GateSettings,
    *,
    seed: int,
    kl: float | None,
    history: Mapping[str, Sequence[float]] | None = None,
    resamples: int = RESAMPLES,
) -> GateVerdict:
    """Compare two policies on held-out prompts.

    `kl` is the candidate's KL to the incumbent in nats a token, None when it was not measured;
    `history` is sign → its number for policies that served in earlier nights.
    """
    metrics = {
        name: measured
        for name in METRICS
        if (measured := measure(pairs, name, seed=seed, resamples=resamples)) is not None
    }
    enough = _check_enough(pairs, metrics, settings)
    if not enough.passed:
        return _verdict([enough], metrics, (), (), settings)
    slices = measure_slices(
        pairs, settings.primary, min_prompts=settings.min_slice, seed=seed, resamples=resamples
    )
    signs = read_signs(pairs, seed=seed, history=history, ignored=settings.ignored_signs)
    checks = [
        enough,
        _check_better(metrics, settings),
        _check_slices(slices, settings),
        _check_hidden(pairs, settings),
        _check_signs(signs),
        _check_kl(kl, settings),
    ]
    return _verdict(checks, metrics, slices, signs, settings)


def _check_enough(
    pairs: Sequence[Pair], metrics: Mapping[str, Measure], settings: GateSettings
) -> Check:
    measured = metrics.get(settings.primary)
    usable = measured.prompts if measured else 0
    different = measured.clusters if measured else 0
    reason = (
        f"{usable} of {len(pairs)} held-out prompts could be judged for both policies, "
        f"{different} of them different"
    )
    if different < settings.min_prompts:
        reason += f"; {settings.min_prompts} are needed"
    elif usable < (1 - settings.max_unchecked) * len(pairs):
        reason += f", more than {settings.max_unchecked:.0%} could not"
    else:
        return Check(name="enough", passed=True, reason=reason)
    return Check(name="enough", passed=False, reason=reason)


def _check_better(metrics: Mapping[str, Measure], settings: GateSettings) -> Check:
    main, name = metrics[settings.primary], settings.primary
    p = 1.0 if main.p_better is None else main.p_better
    said = (
        f"{name} {main.incumbent:.1%} → {main.candidate:.1%}: {_points(main.delta)} "
        f"(95 %: {_points(main.low)} to {_points(main.high)}), p = {p:.2g}"
    )
    if main.delta > 0 and p < settings.alpha:
        return Check(name="better", passed=True, reason=said)
    tokens = metrics["tokens"]
    saving = 1 - tokens.candidate / tokens.incumbent if tokens.incumbent else 0.0
    if main.lower_99 > -settings.as_good and saving >= settings.token_saving:
        bound = f"lower 99 % bound {_points(main.lower_99)}"
        cheaper = f"{said}; as good ({bound}) with {saving:.0%} fewer tokens"
        return Check(name="better", passed=True, reason=cheaper)
    needs = f"{said}; p < {settings.alpha:g} is needed{_could_find(main, settings)}"
    return Check(name="better", passed=False, reason=needs)


def _could_find(main: Measure, settings: GateSettings) -> str:
    """What so many prompts can show at all; a gate that is too small should say so."""
    if main.won is None or main.lost is None or not main.won + main.lost:
        return ""
    discordant = (main.won + main.lost) / main.prompts
    least = smallest_found(main.clusters, discordant, alpha=settings.alpha)
    if least is None:
        return ""
    return f" ({main.clusters} prompts show {_points(least)} in four nights of five)"


def _check_slices(slices: Sequence[SliceMeasure], settings: GateSettings) -> Check:
    worse = [s for s in slices if s.decides and s.bound <= -settings.slice_margin]
    small = [s for s in slices if not s.decides]
    told = "".join(
        f"; {s.dimension}={s.value} has only {s.prompts} prompts and decides nothing" for s in small
    )
    if worse:
        listed = ", ".join(
            f"{s.dimension}={s.value} {_points(s.delta)}, lower 95 % bound {_points(s.bound)} "
            f"on {s.prompts} prompts"
            for s in worse
        )
        reason = f"slices that may have lost {100 * settings.slice_margin:g} points: {listed}{told}"
        return Check(name="slices", passed=False, reason=reason)
    decided = sum(s.decides for s in slices)
    if not decided:
        return Check(name="slices", passed=None, reason=f"no slice is large enough{told}")
    return Check(name="slices", passed=True, reason=f"none of {decided} slices got worse{told}")


def _check_hidden(pairs: Sequence[Pair], settings: GateSettings) -> Check:
    """On the prompts that hidden verifiers judged for both policies."""
    judged = [p for p in pairs if p.incumbent.hidden is not None and p.candidate.hidden is not None]
    seen = both_of(judged, "pass_at_1")
    if not seen:
        return Check(name="hidden", passed=None, reason="no hidden verifier judged these prompts")
    hidden_both = both_of(judged, "hidden")
    gain = math.fsum(new - old for _, old, new in seen) / len(seen)
    hidden = math.fsum(new - old for _, old, new in hidden_both) / len(hidden_both)
    reason = (
        f"hidden verifiers see {_points(hidden)} where the trained ones see {_points(gain)} "
        f"on {len(judged)} prompts"
    )
    needed = settings.hidden_share * gain
    return Check(name="hidden", passed=gain <= 0 or hidden >= needed, reason=reason)


def _check_signs(signs: Sequence[Reading]) -> Check:
    alarms = [f"{r.sign} ({r.says}): {r.alarm}" for r in signs if r.alarm]
    if alarms:
        return Check(name="degeneration", passed=False, reason="; ".join(alarms))
    return Check(name="degeneration", passed=True, reason=f"{len(signs)} signs, no alarm")


def _check_kl(kl: float | None, settings: GateSettings) -> Check:
    if kl is None or not math.isfinite(kl):
        return Check(name="kl", passed=False, reason="KL to the incumbent was not measured")
    reason = f"KL to the incumbent is {kl:.3g} nats a token, budget {settings.kl_budget:g}"
    return Check(name="kl", passed=kl < settings.kl_budget, reason=reason)


def _verdict(
    checks: Sequence[Check],
    metrics: Mapping[str, Measure],
    slices: Sequence[SliceMeasure],
    signs: Sequence[Reading],
    settings: GateSettings,
) -> GateVerdict:
    failed = tuple(check.reason for check in checks if check.passed is False)
    better = tuple(check.reason for check in checks if check.name == "better")
    return GateVerdict(
        promote=not failed,
        reasons=failed or better,
        checks=tuple(checks),
        metrics=metrics,
        slices=tuple(slices),
        signs=tuple(signs),
        settings=settings,
    )


def _points(share: float) -> str:
    return f"{100 * share:+.1f} pt"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    return [_plain(part) for part in value] if isinstance(value, tuple | list) else value
