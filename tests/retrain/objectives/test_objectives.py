"""What every objective does to log π, computed by hand and by finite differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from app.errors import ConfigError
from app.retrain.examples import Example, TrainingGroup, read_groups
from app.retrain.objectives import OBJECTIVES, make_objective
from app.retrain.plan import Row
from app.retrain.shaping import Shaping
from app.retrain.tensors import Batch, make_batch
from tests.retrain.tiny import denominators_of, make_row

pytestmark = pytest.mark.train

COMPARING = ("tapered", "grpo", "dr_grpo", "dapo", "ppo", "cispo", "reinforce")
OFF = {"tau": 0.0}


def example(mu: Sequence[float] | None, *, group: str = "a", sample: int = 0, reward: float = 1.0):
    ids = [5 + number for number in range(len(mu) if mu is not None else 2)]
    row = make_row(group, sample, [2, 3], ids, reward)
    row["trainable"] = mu is not None
    row["logprobs"] = None if mu is None else list(mu)
    return read_groups([row])[0].examples[0]


def batch_of(*rows: tuple[Example, Any]) -> tuple[Batch, list[Row]]:
    made = [Row(example=e, advantage=a, group=0) for e, a in rows]
    return make_batch(made), made


def at_mu(batch: Batch, shift: float = 0.0) -> Any:
    """log π = log µ + shift, where µ is known."""
    logprobs = torch.where(batch.completion, batch.mu.double() + shift, 0.0)
    return logprobs.requires_grad_()


def gradient(name: str, options: dict[str, Any], batch: Batch, rows: list[Row], logprobs: Any):
    """d total / d log π at the completion tokens, times the number of tokens."""
    denominators = denominators_of(rows)
    entropy = torch.zeros_like(logprobs)
    loss = make_objective(name, options).loss(batch, logprobs, entropy, denominators)
    (found,) = torch.autograd.grad(loss.total, logprobs)
    return found[batch.completion] * denominators.tokens


def options_of(name: str) -> dict[str, Any]:
    return {} if name in ("reinforce", "distill") else OFF


@pytest.mark.parametrize("name", COMPARING)
def test_on_policy_the_gradient_is_minus_the_advantage(name):
    """Where π = µ every correction is 1, so they are all the same policy gradient."""
    better, worse = example([-1.0, -2.0]), example([-0.5, -3.0], sample=1, reward=0.0)
    batch, rows = batch_of((better, 0.5), (worse, -0.25))

    found = gradient(name, options_of(name), batch, rows, at_mu(batch))

    assert found.tolist() == pytest.approx([-0.5, -0.5, 0.25, 0.25])


@pytest.mark.parametrize("name", COMPARING)
def test_a_sample_that_is_as_good_as_its_siblings_moves_nothing(name):
    batch, rows = batch_of((example([-1.0, -2.0]), 0.0))

    found = gradient(name, options_of(name), batch, rows, at_mu(batch, shift=0.3))

    assert found.tolist() == [0.0, 0.0]


HALF, DOUBLE = math.log(0.5), math.log(2.0)


@pytest.mark.parametrize(
    ("name", "options", "advantage", "shift", "expected"),
    [
        ("tapered", OFF, 1.0, HALF, -1.0),  # better samples weigh 1 however unlikely
        ("tapered", OFF, 1.0, DOUBLE, -1.0),
        ("tapered", {"tau": 0.0, "delta": 1.0}, -1.0, HALF, 0.5),  # worse ones as far as π has them
        ("tapered", OFF, -1.0, DOUBLE, 1.0),
        ("tapered", OFF, -1.0, HALF, 0.0),  # mean ℓ below −δ
        ("tapered", {"tau": 0.0, "delta": 9, "taper": "sequence"}, -1.0, HALF, 0.25),
        ("tapered", {"tau": 0.0, "delta": 9, "taper": "sequence"}, -1.0, DOUBLE, 1.0),
        ("ppo", OFF, 1.0, DOUBLE, 0.0),  # already far enough up
        ("ppo", OFF, 1.0, HALF, -0.5),
        ("ppo", OFF, -1.0, HALF, 0.0),  # already far enough down
        ("ppo", OFF, -1.0, DOUBLE, 2.0),
        ("ppo", OFF, -1.0, math.log(4.0), 0.0),  # beyond the second bound
        ("dapo", OFF, -1.0, math.log(4.0), 4.0),  # which DAPO does not have
        ("dapo", OFF, 1.0, math.log(1.25), -1.25),  # room to grow
        ("grpo", OFF, 1.0, math.log(1.25), 0.0),
        ("cispo", OFF, 1.0, DOUBLE, -2.0),
        ("cispo", OFF, 1.0, math.log(8.0), -5.0),
        ("cispo", OFF, -1.0, math.log(8.0), 5.0),
        ("reinforce", {}, -1.0, HALF, 1.0),
        ("sft", OFF, 1.0, HALF, -1.0),
        ("distill", {}, 1.0, DOUBLE, -1.0),
    ],
)
def test_off_policy_each_objective_weighs_a_token_as_it_says(
    name, options, advantage, shift, expected
):
    batch, rows = batch_of((example([-1.0, -2.0]), advantage))

    found = gradient(name, options, batch, rows, at_mu(batch, shift))

    assert found.tolist() == pytest.approx([expected, expected])


def test_dpo_moves_both_of_a_pair_by_the_same_amount():
    """d/dℓ of −log σ(β·gap) is −β·σ(−β·gap)."""
    better, worse = example([-1.0, -1.0]), example([-1.0, -1.0], sample=1, reward=0.0)
    batch, rows = batch_of((better, 1.0), (worse, -1.0))
    logprobs = at_mu(batch)
    with torch.no_grad():
        logprobs[0, 2] += 1.0

    found = gradient("dpo", {"beta": 0.5}, batch, rows, logprobs) / 4

    push = 0.5 / (1 + math.exp(0.5 * 1.0))
    assert found.tolist() == pytest.approx([-push, -push, push, push])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("k1", 1.0), ("k2", 0.7), ("k3", 1 - math.exp(-0.7))],
)
def test_leaving_mu_costs_what_the_estimator_says(kind, expected):
    batch, rows = batch_of((example([-1.0, -2.0]), 0.0))

    found = gradient("tapered", {"tau": 1.0, "kl": kind}, batch, rows, at_mu(batch, shift=0.7))

    assert found.tolist() == pytest.approx([expected, expected], rel=1e-5)


def test_a_row_without_mu_pays_nothing_for_leaving_it_and_counts_as_fresh():
    batch, rows = batch_of((example(None), 1.0))
    logprobs = torch.where(batch.completion, -4.0, 0.0).double().requires_grad_()

    for name in COMPARING:
        found = gradient(name, {} if name == "reinforce" else {"tau": 1.0}, batch, rows, logprobs)

        assert found.tolist() == pytest.approx([-1.0, -1.0])


def test_steps_of_one_sample_can_pull_apart():
    batch, rows = batch_of((example([-1.0, -2.0]), (0.5, -0.5)))

    found = gradient("tapered", {"tau": 0.0, "delta": 9}, batch, rows, at_mu(batch, shift=HALF))

    assert found.tolist() == pytest.approx([-0.5, 0.25])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_gradient_is_the_one_of_the_value(name):
    """Finite differences in double precision, weights that are held fixed held fixed."""
    generator = torch.Generator().manual_seed(3)
    rows = [
        (example([-1.0, -0.5, -2.0], sample=0), 0.7),
        (example([-0.3, -1.5], sample=1, reward=0.0), -0.4),
        (example([-2.0], sample=2), 0.2),
        (example([-1.0, -1.0], sample=3, reward=0.0), -0.9),
    ]
    batch, made = batch_of(*rows)
    noise = 0.6 * torch.randn(batch.ids.shape, generator=generator, dtype=torch.float64)
    start = torch.where(batch.completion, batch.mu.double() + noise, 0.0)
    options = {"entropy_bonus": 0.0, "tau": 0.3} if "tau" in _options(name) else {}
    objective, denominators = make_objective(name, options), denominators_of(made)

    def value(logprobs: Any) -> Any:
        entropy = torch.zeros_like(logprobs)
        return objective.loss(batch, logprobs, entropy, denominators).total

    # sg(w) is a constant of the derivative: take it out of the value where it moves with log π.
    if name in ("tapered", "cispo"):
        found = _with_fixed_weights(name, batch, start, denominators, options)
    else:
        found = _differences(value, start, batch)
    logprobs = start.clone().requires_grad_()
    (expected,) = torch.autograd.grad(value(logprobs), logprobs)

    assert found == pytest.approx(expected[batch.completion].tolist(), abs=1e-6)


def _options(name: str) -> Sequence[str]:
    return type(make_objective(name)).__dataclass_fields__


def _differences(value: Any, start: Any, batch: Batch, step: float = 1e-6) -> list[float]:
    found = []
    for place in batch.completion.nonzero():
        up, down = start.clone(), start.clone()
        up[tuple(place)] += step
        down[tuple(place)] -= step
        found.append(float(value(up) - value(down)) / (2 * step))
    return found


def _with_fixed_weights(name, batch, start, denominators, options) -> list[float]:
    ell = (start - batch.mu).detach()
    if name == "cispo":
        weight = ell.exp().clamp(max=5.0)
    else:
        mean = ell.sum(1, keepdim=True) / batch.completion.sum(1, keepdim=True)
        taper = ell.clamp(max=0.0).exp() * (mean >= -0.5)
        weight = torch.where(batch.advantages < 0, taper, 1.0)

    def value(logprobs: Any) -> Any:
        policy = -(weight * batch.advantages * logprobs)
        held = options["tau"] * 0.5 * (logprobs - batch.mu) ** 2 * batch.completion
        return (policy + held).sum() / denominators.tokens

    return _differences(value, start, batch)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_gradient_is_the_same_however_rows_are_split(name):
    made = [
        Row(example=example([-1.0, -0.5, -2.0], sample=0), advantage=1.0, group=0, weight=0.5),
        Row(example=example([-0.3, -1.5], sample=1), advantage=-1.0, group=0, weight=0.5),
        Row(example=example([-2.0], sample=2), advantage=1.0, group=1, weight=1.5),
        Row(example=example([-1.0, -1.0], sample=3), advantage=-1.0, group=1, weight=1.5),
    ]
    objective, denominators = make_objective(name), denominators_of(made)

    def gradients(*batches: list[Row]) -> list[float]:
        found = []
        for rows in batches:
            batch = make_batch(rows)
            logprobs = at_mu(batch, shift=-0.2)
            entropy = torch.zeros_like(logprobs)
            total = objective.loss(batch, logprobs, entropy, denominators).total
            (grad,) = torch.autograd.grad(total, logprobs)
            found += grad[batch.completion].tolist()
        return found

    assert gradients(made) == pytest.approx(gradients(made[:2], made[2:]), rel=1e-12)


def test_the_entropy_bonus_pays_for_every_token():
    batch, rows = batch_of((example([-1.0, -2.0]), 0.0))
    logprobs, entropy = at_mu(batch), torch.ones(batch.ids.shape, requires_grad=True)
    objective = make_objective("tapered", {"tau": 0.0, "entropy_bonus": 0.01})

    total = objective.loss(batch, logprobs, entropy, denominators_of(rows)).total
    (found,) = torch.autograd.grad(total, entropy)

    assert found[batch.completion].tolist() == pytest.approx([-0.005, -0.005])


def a_group(*rewards: float, without_mu: Sequence[int] = ()) -> TrainingGroup:
    examples = tuple(
        example(None if sample in without_mu else [-1.0, -2.0], sample=sample, reward=reward)
        for sample, reward in enumerate(rewards)
    )
    return TrainingGroup(id="a", examples=examples)


def taken(name: str, group: TrainingGroup, **options: Any) -> list[list[tuple[int, Any]]]:
    units = make_objective(name, options).prepare(group, Shaping())
    return [[(pick.example.sample, pick.advantage) for pick in unit] for unit in units]


@pytest.mark.parametrize("name", [*COMPARING, "dpo"])
def test_a_group_without_a_difference_teaches_nothing(name):
    assert taken(name, a_group(1.0, 1.0, 1.0)) == []


def test_a_worse_sample_without_mu_is_left_out_and_a_better_one_is_not():
    found = taken("tapered", a_group(1.0, 0.0, 0.0, 1.0, without_mu=(1, 3)))

    assert found == [[(0, 0.5)], [(2, -0.5)], [(3, 0.5)]]


def test_grpo_divides_by_the_spread_and_tapered_does_not():
    (first, *_), _ = taken("grpo", a_group(1.0, 0.0))
    (other, *_), _ = taken("tapered", a_group(1.0, 0.0))

    assert first[1] == pytest.approx(0.5 / (math.sqrt(0.5) + 1e-4))
    assert other[1] == 0.5


def test_sft_takes_the_first_of_the_best_and_learns_from_groups_that_are_all_right():
    assert taken("sft", a_group(0.0, 1.0, 1.0)) == [[(1, 1.0)]]
    assert taken("sft", a_group(1.0, 1.0)) == [[(0, 1.0)]]
    assert taken("sft", a_group(0.6, 0.0)) == []
    assert taken("sft", a_group(0.5, 0.6), min_reward=0.5) == [[(1, 1.0)]]


def test_distill_takes_every_verified_answer():
    assert taken("distill", a_group(1.0, 0.0, 1.0, without_mu=(0, 1, 2))) == [
        [(0, 1.0)],
        [(2, 1.0)],
    ]


def test_dpo_pairs_the_best_with_the_worst_that_have_mu():
    found = taken("dpo", a_group(0.0, 1.0, 0.5, 1.0, 0.0, without_mu=(0,)))

    assert found == [[(1, 1.0), (4, -1.0)]]


def test_an_unknown_objective_names_the_known_ones():
    with pytest.raises(ConfigError) as caught:
        make_objective("taperd")

    assert str(caught.value) == (
        "objective 'taperd' is not known; known: tapered, grpo, dr_grpo, dapo, ppo, cispo, dpo, "
        "sft, distill, reinforce; did you mean 'tapered'?"
    )


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("tapered", {"taw": 1}, "objective_options.taw"),
        ("tapered", {"tau": -1}, "objective_options.tau"),
        ("tapered", {"taper": "word"}, "objective_options.taper"),
        ("ppo", {"cap": 0}, "objective_options.cap"),
        ("reinforce", {"tau": 0.1}, "objective_options.tau"),
    ],
)
def test_a_wrong_option_is_named(name, options, said):
    with pytest.raises(ConfigError, match=said):
        make_objective(name, options)
