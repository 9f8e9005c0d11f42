"""The trainer on a tiny random Llama: it learns what was planted, and always the same."""

from __future__ import annotations

import json
import math
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from app.errors import ConfigError
from app.retrain.config import TrainConfig
from app.retrain.engine import Trained, TrainingEngine
from app.retrain.examples import TrainingGroup
from app.retrain.plan import Row
from app.retrain.scoring import score
from app.retrain.tensors import make_batch
from app.retrain.trainer import PeftEngine
from tests.retrain.tiny import is_odd, make_groups, make_model, save_model, settings

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def groups() -> tuple[TrainingGroup, ...]:
    return make_groups(make_model())


def train(
    folder: Path, base: Path, groups: Any, parent: Path | None = None, **changes: Any
) -> Trained:
    engine: TrainingEngine = PeftEngine(folder)
    return engine.train(groups, base, parent, TrainConfig(**settings(**changes)))


UNSEEN = ([4, 9, 2, 11], [30, 7, 7, 8], [12, 3, 20, 6], [5, 6, 7, 8])


def odd_share(model: Any) -> float:
    """Mean probability that the next token is odd: what the planted reward asks for."""
    with torch.no_grad():
        laws = model(input_ids=torch.tensor(UNSEEN)).logits[:, -1].softmax(-1)
    odd = [token for token in range(laws.shape[-1]) if is_odd(token)]
    return float(laws[:, odd].sum(-1).mean())


def load(base: Path, adapter: Path) -> Any:
    model = AutoModelForCausalLM.from_pretrained(base)
    with warnings.catch_warnings():  # PEFT 0.21 asks for a property by its old name
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        return PeftModel.from_pretrained(model, str(adapter)).eval()


def steps_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_what_was_rewarded_becomes_likelier(tmp_path, base, groups):
    trained = train(tmp_path, base, groups, epochs=6)

    assert (trained.outcome, trained.reason, trained.steps) == ("finished", "", 24)
    assert trained.folder == tmp_path / "policy-1"
    assert odd_share(load(base, trained.folder)) > odd_share(make_model()) + 0.03


@pytest.mark.parametrize(
    "objective",
    ["tapered", "grpo", "dr_grpo", "dapo", "ppo", "cispo", "dpo", "sft", "distill", "reinforce"],
)
def test_every_objective_learns_the_planted_task(tmp_path, base, groups, objective):
    trained = train(tmp_path, base, groups, epochs=6, objective=objective)

    assert trained.outcome == "finished"
    assert odd_share(load(base, trained.folder)) > odd_share(make_model()) + 0.005


def test_the_loss_of_imitation_goes_down(tmp_path, base, groups):
    trained = train(tmp_path, base, groups, epochs=6, lr=5e-3, objective="distill")

    assert trained.metrics["last"]["loss"] < 0.9 * trained.metrics["first"]["loss"]


def test_every_weight_of_a_tiny_model_can_be_trained(tmp_path, base, groups):
    trained = train(tmp_path, base, groups, epochs=6, lora=None, lr=5e-3)

    after = AutoModelForCausalLM.from_pretrained(trained.folder)
    assert odd_share(after) > odd_share(make_model()) + 0.05


def test_a_night_goes_on_from_the_adapter_of_the_night_before(tmp_path, base, groups):
    first = train(tmp_path / "1", base, groups, epochs=2)
    second = train(tmp_path / "2", base, groups, first.folder, name="policy-2", epochs=2)

    assert json.loads((second.folder / "policy.json").read_text())["parent_adapter"] == str(
        first.folder
    )
    opening = steps_of(tmp_path / "2")[0]
    assert opening["m2"] > 0.01  # what was logged is one night old by now


def test_the_same_job_gives_the_same_bits(tmp_path, base, groups):
    one = train(tmp_path / "1", base, groups)
    two = train(tmp_path / "2", base, groups)
    other = train(tmp_path / "3", base, groups, seed=1)

    assert one.sha256 == two.sha256
    assert one.sha256 != other.sha256


def test_how_rows_are_packed_changes_rounding_only(tmp_path, base, groups):
    wide = train(tmp_path / "1", base, groups, token_budget=100_000)
    narrow = train(tmp_path / "2", base, groups, token_budget=30)

    for name, weight in weights_of(wide).items():
        torch.testing.assert_close(weight, weights_of(narrow)[name], rtol=0, atol=1e-3)


def weights_of(trained: Trained) -> dict[str, Any]:
    assert trained.folder is not None
    return load_file(trained.folder / "adapter_model.safetensors")


def test_every_step_says_what_it_measured(tmp_path, base, groups):
    seen: list[int] = []
    engine = PeftEngine(tmp_path, on_step=lambda measured, steps: seen.append(steps))

    engine.train(groups, base, None, TrainConfig(**settings()))

    rows = steps_of(tmp_path)
    assert seen == [8] * 8
    assert [row["step"] for row in rows] == list(range(8))
    first = rows[0]
    assert first["m2"] == pytest.approx(0, abs=1e-9)  # these weights drew the samples
    assert first["ess"] == pytest.approx(1)
    assert first["kl"] == pytest.approx(0, abs=1e-6)
    assert 0 < first["entropy"] <= math.log(32)
    assert first["rows"] == 32
    assert first["groups"] == 4
    assert rows[-1]["m2"] > 0.001
    assert rows[-1]["tokens_per_s"] > 0


def test_checkpointed_activations_change_nothing(tmp_path, base, groups):
    kept = train(tmp_path / "1", base, groups, gradient_checkpointing=False)
    again = train(tmp_path / "2", base, groups, gradient_checkpointing=True)

    assert kept.metrics["last"]["loss"] == pytest.approx(again.metrics["last"]["loss"], rel=1e-5)


def test_bf16_stays_close_to_float32(tmp_path, base, groups):
    low = train(tmp_path / "1", base, groups, dtype="bfloat16")
    full = train(tmp_path / "2", base, groups)

    assert low.metrics["last"]["entropy"] == pytest.approx(
        full.metrics["last"]["entropy"], rel=0.02
    )
    assert all(weight.dtype == torch.float32 for weight in weights_of(low).values())


@pytest.mark.parametrize(
    ("guard", "said"),
    [
        ({"m2_stop": 0.001}, "M2 .* is above guards.m2_stop 0.001"),
        ({"kl_budget": 0.001}, "KL .* is above guards.kl_budget 0.001"),
        ({"ess_stop": 0.98}, "ESS .* is below guards.ess_stop 0.98"),
    ],
)
def test_a_guard_stops_the_run_and_the_last_good_weights_are_kept(
    tmp_path, base, groups, guard, said
):
    off = settings()["guards"]

    changes = {"lr": 2e-3, "epochs": 8, "checkpoint_every": 1, "guards": {**off, **guard}}
    trained = train(tmp_path, base, groups, **changes)

    assert trained.outcome == "stopped"
    assert trained.reason
    assert re.fullmatch(said, trained.reason)
    bad = steps_of(tmp_path)[-1]["step"]
    assert trained.steps == bad - 1  # the weights with `bad` updates are those that tripped it
    assert json.loads((trained.folder / "policy.json").read_text())["outcome"] == "stopped"


def test_a_run_goes_on_from_its_newest_checkpoint(tmp_path, base, groups):
    class Killed(Exception):
        pass

    def kill(measured: Any, steps: int) -> None:
        if measured.step == 4:
            raise Killed

    seen: list[int] = []
    cfg = TrainConfig(**settings(checkpoint_every=3))
    with pytest.raises(Killed):
        PeftEngine(tmp_path, on_step=kill).train(groups, base, None, cfg)
    PeftEngine(tmp_path, on_step=lambda m, _: seen.append(m.step)).train(groups, base, None, cfg)

    assert seen == [3, 4, 5, 6, 7]
    assert [row["step"] for row in steps_of(tmp_path)] == list(range(8))


def test_dropout_goes_on_where_it_was(tmp_path, base, groups):
    """What is drawn at random while training is part of a checkpoint too."""
    cfg = TrainConfig(**settings(checkpoint_every=3, lora={"dropout": 0.2}))
    whole = PeftEngine(tmp_path / "whole").train(groups, base, None, cfg)

    class Killed(Exception):
        pass

    def kill(measured: Any, steps: int) -> None:
        if measured.step == 5:
            raise Killed

    with pytest.raises(Killed):
        PeftEngine(tmp_path / "cut", on_step=kill).train(groups, base, None, cfg)
    torch.manual_seed(99)
    cut = PeftEngine(tmp_path / "cut").train(groups, base, None, cfg)

    assert cut.sha256 == whole.sha256


def test_a_guard_that_trips_before_the_first_checkpoint_leaves_no_policy(tmp_path, base, groups):
    off = settings()["guards"]

    trained = train(tmp_path, base, groups, guards={**off, "m2_stop": 1e-6})

    assert (trained.outcome, trained.folder, trained.steps) == ("stopped", None, 0)
    assert not (tmp_path / "policy-1").exists()


def test_groups_without_a_difference_are_refused(tmp_path, base, groups):
    same = [
        replace(group, examples=tuple(replace(e, reward=1.0) for e in group.examples))
        for group in groups
    ]

    trained = train(tmp_path, base, same)

    assert trained.outcome == "refused"
    assert trained.reason == "none of 16 groups has what tapered learns from"


def test_a_name_is_used_once(tmp_path, base, groups):
    first = train(tmp_path, base, groups)

    assert train(tmp_path, base, groups).sha256 == first.sha256  # the same job says it again
    with pytest.raises(ConfigError, match=r"train.name: .*policy-1 exists"):
        train(tmp_path, base, groups, seed=5)


def test_checkpoints_of_another_job_are_not_taken_up(tmp_path, base, groups):
    off = settings()["guards"]
    train(tmp_path, base, groups, checkpoint_every=1, guards={**off, "m2_stop": 0.002})

    with pytest.raises(ConfigError, match="belongs to another job"):
        train(tmp_path, base, groups, name="policy-2")


def test_a_base_that_is_not_there_is_named(tmp_path, groups):
    with pytest.raises(ConfigError, match="base: there is no folder"):
        train(tmp_path, tmp_path / "nowhere", groups)


def test_an_adapter_is_what_the_weights_in_the_trainer_were(tmp_path, base, groups):
    """Loaded by PEFT from its files, it says what the run's own last measure said."""
    trained = train(tmp_path, base, groups, epochs=1)
    model = load(base, trained.folder)
    row = Row(example=groups[0].examples[0], advantage=0.0, group=0)

    with torch.no_grad():
        after, _ = score(model, make_batch([row]))
        before, _ = score(make_model(), make_batch([row]))

    assert not torch.allclose(after, before, atol=1e-4)
