"""Boosted trees as plain arrays: fitted elsewhere (app/routing/fit.py), walked here in pure Python.

A prediction is the baseline plus one leaf of every tree. What a feature did is what the value of
the nodes changed by along the paths where that feature was asked, so the parts add up to the
prediction exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LEAF = -1


@dataclass(frozen=True, slots=True)
class Tree:
    """Parallel arrays, one item a node; node 0 is the root."""

    feature: tuple[int, ...]
    """Column that the node asks, `LEAF` in a leaf."""
    threshold: tuple[float, ...]
    """At or below it the path goes left."""
    left: tuple[int, ...]
    right: tuple[int, ...]
    value: tuple[float, ...]
    """What the tree says of the tasks that come through this node."""


@dataclass(frozen=True, slots=True)
class Trees:
    """The sum of some trees over named columns."""

    columns: tuple[str, ...]
    baseline: float
    trees: tuple[Tree, ...]

    def predict(self, row: Sequence[float]) -> float:
        """`row`: the values in the order of `columns`."""
        total = self.baseline
        for tree in self.trees:
            feature, threshold, left, right = tree.feature, tree.threshold, tree.left, tree.right
            node = 0
            while (column := feature[node]) != LEAF:
                node = left[node] if row[column] <= threshold[node] else right[node]
            total += tree.value[node]
        return total

    def parts(self, row: Sequence[float]) -> dict[str, float]:
        """What each column added to the baseline; `bias` is what all tasks have in common."""
        parts = {"bias": self.baseline}
        for tree in self.trees:
            node = 0
            parts["bias"] += tree.value[0]
            while (column := tree.feature[node]) != LEAF:
                is_left = row[column] <= tree.threshold[node]
                after = tree.left[node] if is_left else tree.right[node]
                name = self.columns[column]
                parts[name] = parts.get(name, 0.0) + tree.value[after] - tree.value[node]
                node = after
        return parts

    def to_state(self) -> dict[str, Any]:
        return {
            "columns": list(self.columns),
            "baseline": self.baseline,
            "trees": [
                {
                    "feature": list(tree.feature),
                    "threshold": list(tree.threshold),
                    "left": list(tree.left),
                    "right": list(tree.right),
                    "value": list(tree.value),
                }
                for tree in self.trees
            ],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Trees:
        """Raises KeyError, TypeError or ValueError when the state is not of this form."""
        return cls(
            columns=tuple(state["columns"]),
            baseline=float(state["baseline"]),
            trees=tuple(
                Tree(
                    feature=tuple(tree["feature"]),
                    threshold=tuple(tree["threshold"]),
                    left=tuple(tree["left"]),
                    right=tuple(tree["right"]),
                    value=tuple(tree["value"]),
                )
                for tree in state["trees"]
            ),
        )
