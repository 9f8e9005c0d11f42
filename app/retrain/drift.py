"""Is today's traffic still the traffic of before? Two windows of the log, compared.

PSI says how far a mix has moved (bands .10 and .25: a convention, not a test); Kolmogorov–Smirnov
and χ² say whether chance explains it, and Benjamini–Hochberg keeps many tests from finding
something in every window. Drift needs both: beyond chance, and far enough to matter. It says that
the traffic changed, not that answers got worse.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from app.group import Group

MODERATE, MAJOR = 0.10, 0.25
"""Bands of the PSI."""
BINS = 10
FALSE_SHARE = 0.05
"""Of what is called drift, at most this share may be chance."""
FEW = 30
"""Values that each window needs before anything is said."""
MIN_EXPECTED = 5.0
"""Categories that expect fewer are pooled, or χ² is no χ²."""
_EMPTY = 1e-4
"""Stands for the share of an empty bin, whose logarithm has no value."""

Band = Literal["stable", "moderate", "major"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Part of the log: what each group had, by name."""

    numbers: Mapping[str, Sequence[float]]
    kinds: Mapping[str, Mapping[str, int]]
    """Counts of each category."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """One property in two windows."""

    name: str
    test: Literal["ks", "chi2"]
    before: int
    after: int
    """Values in each window."""
    psi: float
    band: Band
    statistic: float
    p: float
    q: float
    """p after Benjamini–Hochberg over all properties."""
    drifted: bool
    """Beyond chance, and the PSI is not stable."""
    shift: str
    """From what to what, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    moved: tuple[Moved, ...]
    """Furthest first."""
    not_compared: tuple[str, ...]
    """Properties with too few values in a window."""

    @property
    def drifted(self) -> tuple[str, ...]:
        return tuple(moved.name for moved in self.moved if moved.drifted)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"drifted": list(self.drifted)}


def window_of(groups: Iterable[Group]) -> Window:
    """What drift is looked for in: lengths, difficulty, agreement and rewards as numbers, tasks,
    routes, statuses and verdicts as kinds. Groups that nobody drew or that failed are left out."""
    numbers: dict[str, list[float]] = {name: [] for name in NUMBERS}
    kinds: dict[str, Counter[str]] = {name: Counter() for name in KINDS}
    for group in groups:
        if group.cache.hit or group.decision is None:
            continue
        usage, answers = group.usage(), dict(group.answers())
        rewards = [s.reward for s in group.scored if s.reward is not None]
        numbers["prompt_chars"].append(len(group.task.prompt()))
        numbers["difficulty"].append(group.plan.difficulty)
        numbers["samples"].append(len(group.scored))
        if group.scored:
            numbers["completion_tokens"].append(usage.completion_tokens / len(group.scored))
        if answers:
            numbers["agreement"].append(max(answers.values()) / sum(answers.values()))
        if rewards:
            numbers["reward"].append(math.fsum(rewards) / len(rewards))
        kinds["task"][group.plan.contract.kind] += 1
        kinds["route"][group.plan.route_name] += 1
        kinds["status"][group.decision.status] += 1
        # One sample a group: those of one prompt are not independent, as χ² wants them.
        for verdict in (v for scored in group.scored[:1] for v in scored.verdicts):
            kinds["verdicts"][f"{verdict.verifier}: {verdict.status.value}"] += 1
    return Window(numbers=numbers, kinds=kinds)


NUMBERS = ("prompt_chars", "completion_tokens", "samples", "difficulty", "agreement", "reward")
KINDS = ("task", "route", "status", "verdicts")


def find_drift(before: Window, after: Window) -> DriftReport:
    """Compare every property that both windows have."""
    found, skipped = [], []
    for name in sorted(before.numbers.keys() | after.numbers.keys()):
        old, new = before.numbers.get(name, ()), after.numbers.get(name, ())
        if min(len(old), len(new)) < FEW:
            skipped.append(name)
        else:
            found.append(_compare_numbers(name, old, new))
    for name in sorted(before.kinds.keys() | after.kinds.keys()):
        was, now = before.kinds.get(name, {}), after.kinds.get(name, {})
        if min(sum(was.values()), sum(now.values())) < FEW:
            skipped.append(name)
        else:
            found.append(_compare_kinds(name, was, now))
    adjusted = benjamini_hochberg([moved.p for moved in found])
    judged = [
        dataclasses.replace(moved, q=q, drifted=q < FALSE_SHARE and moved.band != "stable")
        for moved, q in zip(found, adjusted, strict=True)
    ]
    judged.sort(key=lambda moved: (-moved.psi, moved.name))
    return DriftReport(moved=tuple(judged), not_compared=tuple(skipped))


def describe_drift(report: DriftReport) -> str:
    """One line a property, for people."""
    if not report.moved:
        return "too few groups in one of the windows to compare anything"
    width = max(len(moved.name) for moved in report.moved)
    lines = []
    for moved in report.moved:
        far = f"PSI {moved.psi:5.3f} ({moved.band}), q {moved.q:.2g}"
        mark = "  DRIFT" if moved.drifted else ""
        lines.append(f"{moved.name:<{width}}  {far}, {moved.shift}{mark}")
    if report.not_compared:
        lines.append(f"too few values: {', '.join(report.not_compared)}")
    return "\n".join(lines)


def _compare_numbers(name: str, old: Sequence[float], new: Sequence[float]) -> Moved:
    distance, p = kolmogorov_smirnov(old, new)
    psi = psi_of(*_binned(old, new))
    middles = (sorted(values)[len(values) // 2] for values in (old, new))
    shift = "median {:.4g} → {:.4g}".format(*middles)
    return _moved(name, "ks", len(old), len(new), psi, distance, p, shift)


def _compare_kinds(name: str, old: Mapping[str, int], new: Mapping[str, int]) -> Moved:
    statistic, p = chi_square(old, new)
    totals = sum(old.values()), sum(new.values())
    names = sorted(old.keys() | new.keys())
    psi = psi_of([old.get(n, 0) for n in names], [new.get(n, 0) for n in names])
    shares = {n: (old.get(n, 0) / totals[0], new.get(n, 0) / totals[1]) for n in names}
    most = max(names, key=lambda n: (abs(shares[n][1] - shares[n][0]), n))
    shift = f"{most} {shares[most][0]:.1%} → {shares[most][1]:.1%}"
    return _moved(name, "chi2", *totals, psi, statistic, p, shift)


def _moved(
    name: str,
    test: Literal["ks", "chi2"],
    before: int,
    after: int,
    psi: float,
    statistic: float,
    p: float,
    shift: str,
) -> Moved:
    band: Band = "stable" if psi < MODERATE else "moderate" if psi < MAJOR else "major"
    return Moved(
        name=name,
        test=test,
        before=before,
        after=after,
        psi=psi,
        band=band,
        statistic=statistic,
        p=p,
        q=p,
        drifted=False,
        shift=shift,
    )


def psi_of(before: Sequence[int], after: Sequence[int]) -> float:
    """Population stability index of counts in the same bins: Σ (new − old)·ln(new / old)."""
    old_total, new_total = sum(before), sum(after)
    total = 0.0
    for old, new in zip(before, after, strict=True):
        was, now = max(old / old_total, _EMPTY), max(new / new_total, _EMPTY)
        total += (now - was) * math.log(now / was)
    return total


def _binned(old: Sequence[float], new: Sequence[float]) -> tuple[list[int], list[int]]:
    """Counts of both in bins that hold about a tenth of the old values each.

    A value that is a tenth of either window by itself, such as a count of samples, is its own bin.
    """
    counts = (Counter(old), Counter(new))
    heavy = sorted(
        {v for count in counts for v, times in count.items() if times * BINS >= count.total()}
    )
    rest = sorted(value for value in old if value not in heavy)
    edges = sorted({rest[len(rest) * tenth // BINS] for tenth in range(1, BINS)}) if rest else []
    binned = []
    for count in counts:
        bins = [0] * (len(edges) + 1)
        for value, times in count.items():
            if value not in heavy:
                bins[bisect.bisect_right(edges, value)] += times
        binned.append(bins + [count[value] for value in heavy])
    return binned[0], binned[1]


def kolmogorov_smirnov(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Two-sample statistic and its asymptotic p (Stephens' correction); ties make p too large."""
    first, second = sorted(a), sorted(b)
    distance = max(
        abs(
            bisect.bisect_right(first, v) / len(first)
            - bisect.bisect_right(second, v) / len(second)
        )
        for v in {*first, *second}
    )
    root = math.sqrt(len(first) * len(second) / (len(first) + len(second)))
    return distance, _kolmogorov_tail((root + 0.12 + 0.11 / root) * distance)


def _kolmogorov_tail(x: float) -> float:
    """P(K > x) = 2 Σ (−1)^(k−1) e^(−2k²x²)."""
    if x < 0.2:  # the series needs many terms, and the tail is 1 to twelve places
        return 1.0
    terms = ((-1) ** (k - 1) * math.exp(-2 * k * k * x * x) for k in range(1, 101))
    return min(1.0, max(0.0, 2 * math.fsum(terms)))


def chi_square(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[float, float]:
    """Statistic and p of "the same mix"; categories that expect few are pooled."""
    old_total, new_total = sum(before.values()), sum(after.values())
    whole = old_total + new_total
    cells: list[tuple[int, int]] = []
    rare = [0, 0]
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name, 0), after.get(name, 0)
        if (old + new) * min(old_total, new_total) / whole < MIN_EXPECTED:
            rare[0] += old
            rare[1] += new
        else:
            cells.append((old, new))
    if sum(rare):
        cells.append((rare[0], rare[1]))
    if len(cells) < 2:
        return 0.0, 1.0
    statistic = 0.0
    for old, new in cells:
        for seen, total in ((old, old_total), (new, new_total)):
            expected = (old + new) * total / whole
            statistic += (seen - expected) ** 2 / expected
    return statistic, chi_square_tail(statistic, len(cells) - 1)


def chi_square_tail(x: float, freedom: int) -> float:
    """P(χ² > x): the upper incomplete gamma function, in closed form for whole numbers of freedom.

    Even: e^(−x/2) Σ (x/2)^k / k!, k < freedom/2. Odd: erfc(√(x/2)) and half-integer terms.
    """
    half = x / 2
    if freedom % 2 == 0:
        term = total = 1.0
        for k in range(1, freedom // 2):
            term *= half / k
            total += term
        return min(1.0, math.exp(-half) * total)
    total, term = 0.0, math.sqrt(half) / math.gamma(1.5)
    for k in range(1, (freedom + 1) // 2):
        total += term
        term *= half / (k + 0.5)
    return min(1.0, math.erfc(math.sqrt(half)) + math.exp(-half) * total)


def benjamini_hochberg(ps: Sequence[float]) -> list[float]:
    """q of each p: the smallest false discovery share at which it would still be called found."""
    ranked = sorted(range(len(ps)), key=lambda i: ps[i], reverse=True)
    qs, least = [1.0] * len(ps), 1.0
    for place, i in enumerate(ranked):
        least = min(least, ps[i] * len(ps) / (len(ps) - place))
        qs[i] = least
    return qs
