"""Trees that scikit-learn fits and plain Python walks."""

from __future__ import annotations

import builtins
import json
import random
import subprocess
import sys

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from app.errors import ConfigError
from app.routing import fit
from app.routing.fit import RowsOfRoute
from app.routing.gate import JUDGED_ON, MIN_LABELS
from app.routing.model import COLUMNS, RouteModel, row_of
from app.routing.online import inputs_of
from app.routing.trees import Trees
from tests.parts import ROOT
from tests.routing.planted import START, an_example, planted


def rows(count: int, seed: int = 0) -> tuple[list[list[float]], list[float]]:
    draw = random.Random(seed)
    features = [[draw.random() for _ in COLUMNS] for _ in range(count)]
    return features, [float(r[0] > 0.5) * r[2] + 0.1 * (r[5] > 0.3) for r in features]


def route_after(count: int, **changes) -> RowsOfRoute:
    route = RowsOfRoute()
    for example in planted(count, **changes):
        route.learn(example)
    return route


def test_plain_trees_predict_what_the_library_predicts():
    known, gains = rows(600)
    trees = fit._fit_trees(known, gains)
    library = HistGradientBoostingRegressor(
        max_iter=fit.ROUNDS,
        max_leaf_nodes=fit.LEAVES,
        min_samples_leaf=fit.FEWEST_IN_LEAF,
        learning_rate=fit.LEARNING_RATE,
        early_stopping=False,
        random_state=0,
    )
    unseen, _ = rows(200, seed=1)
    with threadpool_limits(1):
        expected = library.fit(np.array(known), np.array(gains)).predict(unseen)

    assert [trees.predict(row) for row in unseen] == pytest.approx(expected)


def test_the_parts_of_a_prediction_add_up_to_it_and_name_what_mattered():
    trees = fit._fit_trees(*rows(600))
    for row in rows(20, seed=2)[0]:
        parts = trees.parts(row)

        assert sum(parts.values()) == pytest.approx(trees.predict(row))
        weightiest = sorted(parts, key=lambda name: -abs(parts[name]))[:3]
        assert {COLUMNS[0], COLUMNS[2]} & set(weightiest)


def test_trees_survive_their_state():
    trees = fit._fit_trees(*rows(600))

    assert Trees.from_state(json.loads(json.dumps(trees.to_state()))) == trees


def test_a_row_is_read_by_the_names_of_its_columns():
    """Trees that were fitted when there were other columns go on meaning the same."""
    inputs = inputs_of(next(planted(1)).features, 0.75)
    row = dict(zip(COLUMNS, row_of(inputs, 1.5), strict=True))

    assert row["fail_rate"] == 0.25
    assert row["text_model"] == 1.5
    assert row["answer_kind=number"] == 1
    assert row["answer_kind=json"] == 0
    assert row_of(inputs, 1.5, ("text_model", "gone", "fail_rate")) == [1.5, 0.0, 0.25]


def test_the_same_log_gives_the_same_trees_and_a_route_that_may_decide():
    routes = [route_after(MIN_LABELS + JUDGED_ON) for _ in range(2)]
    fitted = [route.fit() for route in routes]

    assert fitted[0] == fitted[1]
    assert routes[0].model.to_state() == routes[1].model.to_state()
    assert fitted[0].rows == MIN_LABELS + JUDGED_ON
    assert fitted[0].kept == (routes[0].model.trees is not None)
    assert routes[0].model.decides


def test_trees_that_order_no_better_are_not_kept():
    """All that there is to know is in the words, which the online model has learned."""
    route = RowsOfRoute()
    draw = random.Random(3)
    for number in range(MIN_LABELS + JUDGED_ON):
        word = draw.choice(("amber", "brown"))
        route.learn(
            an_example(f"Is it {word} now", float(word == "amber"), received_at=START + number)
        )
    fitted = route.fit()

    assert fitted.auc_online == 1.0
    assert not fitted.kept
    assert route.model.trees is None


def test_trees_are_kept_where_the_counts_say_more_than_a_straight_line():
    """Tasks with about four numbers gain, those with fewer or more do not."""
    route = RowsOfRoute()
    draw = random.Random(4)
    for number in range(MIN_LABELS + JUDGED_ON):
        numbers = draw.randint(0, 8)
        prompt = "sum " + "7 " * numbers
        gain = float(3 <= numbers <= 5)
        route.learn(an_example(prompt, gain, received_at=START + number))
    before = list(route.model.points)
    fitted = route.fit()

    assert fitted.kept
    assert fitted.auc_trees > 0.95 > fitted.auc_online
    assert len(route.model.points) == len(before)
    assert [p.gain for p in route.model.points] == [p.gain for p in before]
    state = route.model.to_state()
    assert RouteModel.from_state(json.loads(json.dumps(state))).to_state() == state


def test_too_few_rows_fit_nothing():
    fitted = route_after(MIN_LABELS - 1).fit()

    assert (fitted.rows, fitted.kept, fitted.auc_trees) == (MIN_LABELS - 1, False, None)


def test_rows_of_another_policy_are_not_fitted_on():
    route = route_after(MIN_LABELS)
    for example in planted(50, seed=1, policy="new"):
        route.learn(example)

    assert route.model.policy == "new"
    assert route.fit().rows == 30


def test_without_the_library_the_message_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"verivote\[fit\]"):
        fit._fit_trees(*rows(50))


def test_a_gateway_never_imports_the_library():
    """It would cost a serving process a hundred megabytes."""
    code = "import sys, app.main, app.learning, app.routing.fit; print('sklearn' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )

    assert done.stdout.strip() == "False"
