"""The nightly fit: boosted trees over the counts and the online model's score.

Runs in a process of its own: scikit-learn is imported here, when it is called, and never by a
gateway, which walks the trees as plain arrays (app/routing/trees.py).
Trees are kept only where they order the newest tasks better than the online model did, and that
comparison is fair: neither had seen them. What they say of older tasks, for the calibration, comes
from trees fitted without these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.errors import ConfigError
from app.routing.examples import Example
from app.routing.gate import JUDGED_ON, MIN_LABELS, Point, auc, fair, rank_of
from app.routing.model import COLUMNS, RouteModel, clipped, row_of
from app.routing.trees import LEAF, Tree, Trees

ROUNDS = 100
LEAVES = 8
FEWEST_IN_LEAF = 20
LEARNING_RATE = 0.05
FOLDS = 5
MOST_ROWS = 50_000
"""The newest rows; older ones say little of today's traffic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What came of a fit."""

    rows: int
    auc_online: float | None
    """Of the online model on the newest points."""
    auc_trees: float | None
    """Of trees that had not seen them; None where there were too few rows to fit any."""
    kept: bool
    """Whether the trees are in the model now."""


class RowsOfRoute:
    """A route learned anew from its log, with the rows that trees are fitted on."""

    def __init__(self) -> None:
        self.model = RouteModel()
        self._start = 0
        self._rows: list[list[float]] = []
        self._points: list[Point] = []

    def learn(self, example: Example) -> None:
        """As `RouteModel.learn`. A row is what was known of a task before it was learned; after a
        new start those before are of another model or another traffic, and are dropped."""
        learnt = self.model.learn(example)
        if self.model.starts != self._start:
            self._start = self.model.starts
            self._rows.clear()
            self._points.clear()
        elif learnt is not None:
            self._rows.append(row_of(learnt.inputs, learnt.logit))
            self._points.append(learnt.point)

    def fit(self) -> Fitted:
        """Fit trees and keep them in the model if they are better. Raises `ConfigError` when
        scikit-learn is not installed."""
        rows, points = self._rows[-MOST_ROWS:], self._points[-MOST_ROWS:]
        held_out = _newest_fair(points)
        if len(rows) < MIN_LABELS or held_out is None:
            return Fitted(rows=len(rows), auc_online=None, auc_trees=None, kept=False)
        gains = [point.gain for point in points]
        judges = _fit_trees(rows[:held_out], gains[:held_out])
        unseen = [
            replace(point, score=judges.predict(row))
            for row, point in zip(rows[held_out:], points[held_out:], strict=True)
        ]
        auc_online, auc_trees = auc(fair(points[held_out:])), auc(fair(unseen))
        kept = auc_online is not None and auc_trees is not None and auc_trees > auc_online
        if kept:
            self._keep(rows, points, _fit_trees(rows, gains))
        return Fitted(rows=len(rows), auc_online=auc_online, auc_trees=auc_trees, kept=kept)

    def _keep(self, rows: list[list[float]], points: list[Point], trees: Trees) -> None:
        """Put the trees into the model, with points that were scored without having been seen."""
        gains = [point.gain for point in points]
        size = -(-len(rows) // FOLDS)
        scored: list[Point] = []
        for start in range(0, len(rows), size):
            end = start + size
            others = _fit_trees(rows[:start] + rows[end:], gains[:start] + gains[end:])
            for row, point in zip(rows[start:end], points[start:end], strict=True):
                score = clipped(others.predict(row))
                rank = rank_of(score, scored, is_decisive=point.is_decisive)
                scored.append(replace(point, score=score, rank=rank))
        self.model.trees = trees
        self.model.points.clear()
        self.model.points.extend(scored)
        self.model.judge()


def _newest_fair(points: Sequence[Point]) -> int | None:
    """Where the newest fair points begin, enough of them to judge by."""
    places = [place for place, point in enumerate(points) if point.is_fair]
    return places[-JUDGED_ON] if len(places) >= JUDGED_ON else None


def _fit_trees(rows: Sequence[Sequence[float]], gains: Sequence[float]) -> Trees:
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise ConfigError("fitting trees needs scikit-learn: pip install 'verivote[fit]'") from None
    boosting = HistGradientBoostingRegressor(
        max_iter=ROUNDS,
        max_leaf_nodes=LEAVES,
        min_samples_leaf=FEWEST_IN_LEAF,
        learning_rate=LEARNING_RATE,
        early_stopping=False,
        random_state=0,
    )
    # So few rows are fitted fastest by one thread, and a gateway may need the other cores.
    with threadpool_limits(1):
        boosting.fit([list(row) for row in rows], list(gains))
    # The fitted trees are not part of scikit-learn's public face; the test that compares the
    # predictions tells when that changes.
    return Trees(
        columns=COLUMNS,
        baseline=float(boosting._baseline_prediction.ravel()[0]),
        trees=tuple(_plain(each.nodes) for (each,) in boosting._predictors),
    )


def _plain(nodes: Any) -> Tree:
    """scikit-learn's nodes as plain arrays. Only its leaves carry the learning rate, so the value
    of an inner node is the mean of its leaves."""
    values = [0.0] * len(nodes)
    # Children come after their parent.
    for place in reversed(range(len(nodes))):
        node = nodes[place]
        if node["is_leaf"]:
            values[place] = float(node["value"])
            continue
        left, right = int(node["left"]), int(node["right"])
        share = int(nodes[left]["count"]) / int(node["count"])
        values[place] = share * values[left] + (1 - share) * values[right]
    return Tree(
        feature=tuple(LEAF if n["is_leaf"] else int(n["feature_idx"]) for n in nodes),
        threshold=tuple(0.0 if n["is_leaf"] else float(n["num_threshold"]) for n in nodes),
        left=tuple(int(n["left"]) for n in nodes),
        right=tuple(int(n["right"]) for n in nodes),
        value=tuple(values),
    )
