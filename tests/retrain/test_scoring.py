"""log π as the model's own logits have it, row by row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from app.retrain import scoring
from app.retrain.scoring import score
from app.retrain.tensors import Batch, make_batch, make_filling
from tests.retrain.tiny import make_groups, make_model, make_row_of

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def batch() -> Batch:
    groups = make_groups(make_model(), groups=3, samples=3)
    return make_batch([make_row_of(e, 0.5) for group in groups for e in group.examples])


def by_hand(model: Any, batch: Batch) -> tuple[list[float], list[float]]:
    """One row at a time, without padding, the softmax of logits over temperature."""
    logprobs, entropies = [], []
    for row in range(len(batch.ids)):
        ids = batch.ids[row, : batch.lengths[row]]
        law = (model(input_ids=ids[None]).logits[0] / batch.temperature[row]).softmax(-1)
        for place in batch.completion[row].nonzero().flatten().tolist():
            p = law[place - 1]
            logprobs.append(float(p[ids[place]].log()))
            entropies.append(float(-(p * p.log()).sum()))
    return logprobs, entropies


def test_padding_and_packing_change_nothing(batch):
    model = make_model()

    with torch.no_grad():
        logprobs, entropy = score(model, batch)
        wanted, wanted_entropy = by_hand(model, batch)

    assert logprobs[batch.completion].tolist() == pytest.approx(wanted, abs=1e-5)
    assert entropy[batch.completion].tolist() == pytest.approx(wanted_entropy, abs=1e-5)
    assert logprobs[~batch.completion].abs().max() == 0


def test_mu_is_what_the_model_that_drew_says(batch):
    with torch.no_grad():
        logprobs, _ = score(make_model(), batch)

    assert torch.allclose(logprobs, batch.mu, atol=1e-5)


def test_a_colder_law_is_surer_of_every_token(batch):
    model = make_model()
    with torch.no_grad():
        _, usual = score(model, batch)
        _, cold = score(model, replace(batch, temperature=batch.temperature / 4))

    assert (cold[batch.completion] < usual[batch.completion]).all()


def test_chunks_give_the_same_values_and_gradients(batch, monkeypatch):
    whole, pieces = make_model(), make_model()
    first, entropy = score(whole, batch)
    first.sum().backward()

    monkeypatch.setattr(scoring, "CHUNK_BYTES", 4 * 32 * 5)  # five tokens
    second, other_entropy = score(pieces, batch)
    second.sum().backward()

    torch.testing.assert_close(first, second)
    torch.testing.assert_close(entropy, other_entropy)
    for one, two in zip(whole.parameters(), pieces.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=1e-6)


def test_entropy_has_a_gradient_only_when_it_is_asked_for(batch):
    _, without = score(make_model(), batch)
    _, with_gradient = score(make_model(), batch, entropy_grad=True)

    assert not without.requires_grad
    assert with_gradient.requires_grad


def test_logits_in_bf16_are_normalised_in_float32(batch):
    model = make_model().to(torch.bfloat16)

    with torch.no_grad():
        logprobs, _ = score(model, batch)

    assert logprobs.dtype == torch.float32


def test_a_filling_goes_through_the_model_and_pushes_nothing(batch):
    model = make_model()
    (group,) = make_groups(model, groups=1)

    logprobs, entropy = score(model, make_filling(make_row_of(group.examples[0])))
    logprobs.sum().backward()

    assert (logprobs.sum(), entropy.sum()) == (0, 0)
    assert all(weight.grad.abs().max() == 0 for weight in model.parameters())
