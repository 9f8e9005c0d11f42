"""Files that prime-rl's trainer would read: compared with golden ones, and read with msgspec."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from app.retrain.exporters.prime_rl import write_prime_rl
from tests.parts import require
from tests.retrain.exporters.conftest import units

GOLDEN = Path(__file__).parent / "golden" / "prime_rl"

REQUIRED = {
    "input_ids": list[int],
    "loss_mask": list[bool],
    "advantages": list[float],
    "inference_logprobs": list[float],
    "position_ids": list[int],
    "sequence_lengths": list[int],
    "temperatures": list[float],
    "env_names": list[str],
    "seq_lens": list[int],
}
OPTIONAL = (
    *("ref_logprobs", "routed_experts", "mm_refs", "mm_token_type_ids"),
    *("rl_weights", "ce_weights", "ref_kl_weights"),
    *("sampling_mask", "trace_ids", "branch_indices"),
)


@dataclass(frozen=True)
class Objective:
    name: str = "tapered"


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_files_are_the_golden_ones(tmp_path, cfg):
    write_prime_rl(tmp_path / "out", units(), cfg, Objective(), ranks=2)

    assert files_of(tmp_path / "out") == files_of(GOLDEN)


@pytest.fixture
def decode() -> Any:
    require(find_spec("msgspec"), "msgspec is not installed: pip install '.[train-dev]'")
    import msgspec

    fields = [*REQUIRED.items(), *((name, Any, None) for name in OPTIONAL)]
    layout = msgspec.defstruct("MicroBatch", fields, array_like=True, omit_defaults=True)
    return msgspec.msgpack.Decoder(list[layout]).decode


@pytest.mark.train
def test_its_own_decoder_reads_every_token_with_its_mu_and_advantage(tmp_path, cfg, decode):
    write_prime_rl(tmp_path / "out", units(temperature=0.7), cfg, Objective(), ranks=1)

    batches = [
        batch
        for number in range(2)
        for batch in decode((tmp_path / f"out/rollouts/step_{number}/rank_0.bin").read_bytes())
    ]
    by_ids = {tuple(batch.input_ids): batch for batch in batches}
    first = by_ids[11, 12, 21, 22, 1, 11, 12, 23, 1]
    assert first.sequence_lengths == first.seq_lens == [5, 4]
    assert first.position_ids == [0, 1, 2, 3, 4, 0, 1, 2, 3]
    assert first.loss_mask == [False, False, True, True, True, False, False, True, True]
    assert first.advantages == [0, 0, 0.5, 0.5, 0.5, 0, 0, -0.5, -0.5]
    assert first.inference_logprobs == [0, 0, -0.5, -0.25, -0.125, 0, 0, -1.5, -0.5]
    assert set(first.temperatures) == {0.7}
    assert set(first.env_names) == {"verivote"}
    assert first.rl_weights is None
    second = by_ids[13, 24, 1, 13, 25]
    assert second.advantages == [0, 0, 0, 0, -1.0]
    assert second.rl_weights == [0, 0, 0, 0, 1.0]
    assert second.ce_weights == [0, 1.0, 1.0, 0, 0]  # no µ: imitated, with q·A


@pytest.mark.train
def test_every_rank_has_equally_many_batches(tmp_path, cfg, decode):
    write_prime_rl(tmp_path / "out", units(), cfg, Objective(), ranks=3)

    for number in range(2):
        ranks = [
            decode((tmp_path / f"out/rollouts/step_{number}/rank_{rank}.bin").read_bytes())
            for rank in range(3)
        ]
        assert [len(batches) for batches in ranks] == [1, 1, 1]
        assert sorted(any(batches[0].loss_mask) for batches in ranks) == [False, False, True]


def test_the_manifest_says_what_does_not_travel(tmp_path, cfg):
    write_prime_rl(tmp_path / "out", units(), cfg, Objective())

    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["schema"] == "prime-rl 2026-11"
    assert manifest["left_out"] == ["the objective's loss: set [trainer.loss]"]


def test_a_folder_is_written_once(tmp_path, cfg):
    write_prime_rl(tmp_path / "out", units(), cfg, Objective())

    with pytest.raises(FileExistsError):
        write_prime_rl(tmp_path / "out", units(), cfg, Objective())
