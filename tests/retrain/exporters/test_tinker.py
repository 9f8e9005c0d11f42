"""Requests of the Tinker API: golden files, and that API's losses give our gradients."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from app.errors import ConfigError
from app.retrain.config import TrainConfig
from app.retrain.exporters.tinker import write_tinker
from app.retrain.objectives import make_objective
from app.retrain.plan import make_step, make_units
from app.retrain.scoring import score
from app.retrain.shaping import Shaping
from app.retrain.tensors import make_batch
from tests.retrain.exporters.conftest import units
from tests.retrain.exporters.test_prime_rl import files_of
from tests.retrain.tiny import make_groups, make_model

pytestmark = pytest.mark.train

GOLDEN = Path(__file__).parent / "golden" / "tinker"


def test_the_files_are_the_golden_ones(tmp_path, cfg):
    write_tinker(tmp_path / "out", units(), cfg, make_objective("tapered"))

    assert {name: json.loads(data) for name, data in files_of(tmp_path / "out").items()} == {
        name: json.loads(data) for name, data in files_of(GOLDEN).items()
    }


def their_loss(call: dict[str, Any], model: Any) -> Any:
    """The sum over tokens that the API documents for a loss, at temperature 1."""
    bounds = call["loss_fn_config"] or {}
    low, high = (bounds.get(f"clip_{side}_threshold", 1.0) for side in ("low", "high"))
    total = torch.zeros(())
    for datum in call["data"]:
        (chunk,) = datum["model_input"]["chunks"]
        given = {key: torch.tensor(v["data"]) for key, v in datum["loss_fn_inputs"].items()}
        law = model(input_ids=torch.tensor([chunk["tokens"]])).logits[0].log_softmax(-1)
        logprobs = law.gather(-1, given["target_tokens"][:, None]).squeeze(-1)
        if call["loss_fn"] == "cross_entropy":
            total = total - (given["weights"] * logprobs).sum()
            continue
        ratio = (logprobs - given["logprobs"]).exp()
        if call["loss_fn"] == "cispo":
            each = ratio.clamp(low, high).detach() * logprobs * given["advantages"]
        else:
            inside = ratio.clamp(low, high) * given["advantages"]
            each = torch.minimum(ratio * given["advantages"], inside)
        total = total - (each * given["weights"]).sum()
    return total


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tapered", {"tau": 0.0, "delta": 100.0}),
        ("grpo", {"tau": 0.0}),
        ("dr_grpo", {}),
        ("dapo", {}),
        ("ppo", {"cap": 1e9}),
        ("cispo", {}),
        ("reinforce", {}),
        ("sft", {}),
        ("distill", {}),
    ],
)
def test_their_loss_has_our_gradient(tmp_path, name, options):
    """Weights away from those that drew the rows, so that bounds are passed both ways."""
    settings = {"name": "p", "groups_per_step": 4, "epochs": 1, "token_budget": 1000}
    cfg = TrainConfig.model_validate(settings)
    objective = make_objective(name, options)
    made = make_units(_at_one(make_groups(make_model(), groups=4)), objective, Shaping())
    write_tinker(tmp_path / "out", made, cfg, objective)
    step = make_step(made, 0, seed=0, groups_per_step=4, token_budget=1000)

    theirs, ours = _moved(), _moved()
    body = json.loads((tmp_path / "out" / "step-000000.json").read_text())
    for call in body["forward_backward"]:
        their_loss(call["forward_backward_input"], theirs).backward()
    for rows in step.shares[0]:
        batch = make_batch(rows)
        logprobs, entropy = score(ours, batch)
        objective.loss(batch, logprobs, entropy, step.denominators).total.backward()

    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-3, atol=1e-6)


def _at_one(groups: Any) -> Any:
    """The groups as if drawn at temperature 1; µ is then far from π, which is what is wanted."""
    return [
        replace(group, examples=tuple(replace(e, temperature=1.0) for e in group.examples))
        for group in groups
    ]


def _moved() -> Any:
    model = make_model()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.03 * torch.randn(weight.shape, generator=generator))
    return model


def test_what_the_api_has_no_place_for_is_named(tmp_path, cfg):
    write_tinker(tmp_path / "a", units(), cfg, make_objective("tapered"))
    write_tinker(tmp_path / "b", units()[:1], cfg, make_objective("ppo"))

    said = [json.loads((tmp_path / f / "manifest.json").read_text())["left_out"] for f in "ab"]
    assert said == [["tau", "delta"], ["cap"]]


def test_another_temperature_is_refused(tmp_path, cfg):
    with pytest.raises(ConfigError, match=r"was drawn at temperature 0.7; the Tinker API knows"):
        write_tinker(tmp_path / "out", units(temperature=0.7), cfg, make_objective("tapered"))


def test_an_objective_over_pairs_is_refused(tmp_path, cfg):
    with pytest.raises(ConfigError, match="objective 'dpo' has no form in the Tinker API"):
        write_tinker(tmp_path / "out", units(), cfg, make_objective("dpo"))


def test_a_ratio_without_mu_is_refused(tmp_path, cfg):
    with pytest.raises(ConfigError, match="sample 0 of b has no µ; objective 'ppo' needs it"):
        write_tinker(tmp_path / "out", units(), cfg, make_objective("ppo"))
