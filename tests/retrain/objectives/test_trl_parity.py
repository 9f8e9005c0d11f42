"""Our losses and TRL's, on the same model, tokens, µ and advantages: same value, same gradient.

TRL's trainer is made for this and its `_compute_loss` called; nothing is sampled. Scales:
`grpo` is a mean over rows in both. `dapo`, `cispo` and `ppo` are means over all tokens in both
(TRL calls the tokens `num_items_in_batch`; it has our `ppo` as `dapo` with `delta`). `dr_grpo` is
divided by rows times a constant: TRL's `max_completion_length`, our longest completion. TRL weighs
its KL term by the ratio unless told not to; ours is the k3 of the paper.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from app.retrain.examples import TrainingGroup
from app.retrain.objectives import make_objective
from app.retrain.plan import Row
from app.retrain.scoring import score
from app.retrain.tensors import make_batch
from tests.parts import require
from tests.retrain.tiny import (
    TEMPERATURE,
    VOCABULARY,
    denominators_of,
    make_groups,
    make_model,
    make_row_of,
    save_model,
)

pytestmark = [
    pytest.mark.train,
    # Importing TRL, and what it imports, warns about the future of other packages.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

MAX_COMPLETION = 16
ADVANTAGES = (0.9, -0.7, 0.3, -1.2, 0.5, -0.1, 1.4, -0.4)


@pytest.fixture(scope="module")
def trl(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`trl(loss_type, **config)` makes a trainer around a model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from datasets import Dataset
            from transformers import PreTrainedTokenizerFast
            from trl import GRPOConfig, GRPOTrainer
        except ImportError:
            require(None, "TRL is not installed: pip install '.[train-dev]'")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_word_tokenizer(), pad_token="0", eos_token="1", bos_token="0"
    )
    folder = tmp_path_factory.mktemp("trl")
    base = save_model(folder / "base")

    def make(model: Any, loss_type: str, **config: Any) -> Any:
        usual = {
            "output_dir": str(folder),
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": False,
            "report_to": [],
            "per_device_train_batch_size": len(ADVANTAGES),
            "num_generations": len(ADVANTAGES),
            "max_completion_length": MAX_COMPLETION,
            "temperature": TEMPERATURE,
        }
        model.config._name_or_path = str(base)  # where TRL would load a reference model from
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return GRPOTrainer(
                model=model,
                reward_funcs=lambda completions, **_: [0.0] * len(completions),
                args=GRPOConfig(loss_type=loss_type, **{**usual, **config}),
                train_dataset=Dataset.from_list([{"prompt": "2 3"}]),
                processing_class=tokenizer,
            )

    return make


def _word_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {str(number): number for number in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


@pytest.fixture(scope="module")
def group() -> TrainingGroup:
    (group,) = make_groups(make_model(), groups=1, samples=len(ADVANTAGES), seed=5)
    return group


def far_model() -> Any:
    """Weights away from those that drew the samples, so that ratios are clipped both ways."""
    model = make_model()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.03 * torch.randn(weight.shape, generator=generator))
    return model


def trl_inputs(rows: list[Row]) -> dict[str, Any]:
    """Prompts padded left, completions right, as TRL wants them."""
    examples = [row.example for row in rows]
    widest = max(len(e.completion_ids) for e in examples)
    prompt = torch.tensor([list(e.prompt_ids) for e in examples])
    ids, mask, mu = (torch.zeros(len(rows), widest, dtype=d) for d in (int, int, torch.float32))
    for at, example in enumerate(examples):
        assert example.mu is not None
        length = len(example.completion_ids)
        ids[at, :length] = torch.tensor(list(example.completion_ids))
        mask[at, :length] = 1
        mu[at, :length] = torch.tensor(list(example.mu))
    return {
        "prompt_ids": prompt,
        "prompt_mask": torch.ones_like(prompt),
        "completion_ids": ids,
        "completion_mask": mask,
        "old_per_token_logps": mu,
        "ref_per_token_logps": mu,
        "advantages": torch.tensor([row.advantage for row in rows]),
        "num_items_in_batch": mask.sum(),
    }


@pytest.mark.parametrize(
    ("name", "options", "loss_type", "config", "scale"),
    [
        ("grpo", {"tau": 0.0}, "grpo", {}, 1.0),
        ("grpo", {"tau": 0.04}, "grpo", {"beta": 0.04, "use_bias_correction_kl": False}, 1.0),
        ("dapo", {}, "dapo", {"epsilon_high": 0.28}, 1.0),
        ("dr_grpo", {}, "dr_grpo", {}, "longest"),
        ("cispo", {"cap": 5.0}, "cispo", {"epsilon_high": 5.0}, 1.0),
        ("cispo", {"cap": 1e9}, "cispo", {"epsilon_high": 1e9}, 1.0),
        ("ppo", {"cap": 3.0}, "dapo", {"epsilon_high": 0.28, "delta": 3.0}, 1.0),
        ("ppo", {"cap": 1.5}, "dapo", {"epsilon_high": 0.28, "delta": 1.5}, 1.0),
    ],
)
def test_loss_and_gradient_are_trls(trl, group, name, options, loss_type, config, scale):
    rows = [
        make_row_of(example, advantage)
        for example, advantage in zip(group.examples, ADVANTAGES, strict=True)
    ]
    denominators = denominators_of(rows)

    theirs = far_model()
    trainer = trl(theirs, loss_type, **config)
    their_loss = trainer._compute_loss(theirs.eval(), trl_inputs(rows))
    their_loss.backward()

    ours = far_model()
    batch = make_batch(rows)
    logprobs, entropy = score(ours, batch)
    our_loss = make_objective(name, options).loss(batch, logprobs, entropy, denominators).total
    our_loss.backward()

    factor = MAX_COMPLETION / denominators.longest if scale == "longest" else scale
    assert float(our_loss.detach()) == pytest.approx(float(their_loss.detach()) * factor, rel=1e-4)
    for (key, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(
            mine.grad, other.grad * factor, rtol=1e-3, atol=1e-6, msg=f"gradient of {key}"
        )


def test_the_comparison_sees_every_side_of_the_clip(group):
    """A comparison in which no ratio is clipped would say little."""
    rows = [
        make_row_of(example, advantage)
        for example, advantage in zip(group.examples, ADVANTAGES, strict=True)
    ]
    batch = make_batch(rows)
    with torch.no_grad():
        logprobs, _ = score(far_model(), batch)

    ratio = (logprobs - batch.mu).exp()[batch.completion]
    better = (batch.advantages > 0)[batch.completion]
    assert (ratio[better] > 1.28).any()
    assert (ratio[~better] < 0.8).any()
    assert (ratio[~better] > 1.5).any()
    assert ((ratio > 0.8) & (ratio < 1.2)).any()
