"""What the sections share: the recordings, every replay made once, and a line of the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any

from app.replay.measure import Estimate
from app.replay.play import Setting
from app.replay.replay import Difference, Playing, Replayed, Run, compare, replay_all, replay_each
from app.replay.rows import Recording

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
