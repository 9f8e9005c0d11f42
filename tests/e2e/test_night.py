"""A real night on a tiny model: what a server drew and a gateway logged trains its weights.

The model is hardly taught, so this says that the parts fit. What nights are worth is measured by
bench/night.py on the same server with a model that has something to learn.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.engines.openai import OpenAIEngine
from tests.cli.command import environment, serving, verivote
from tests.parts import ROOT, require
from tests.running import settings_for

pytestmark = pytest.mark.train

TEACH = """
import sys, pathlib, torch
from small_world.model import LR, draw_batches, make_model, save, update
torch.set_num_threads(1)
model, batches = make_model(0), draw_batches(0)
optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
for step in range(60):
    update(model, optimizer, batches(0.0), LR)
save(model, pathlib.Path(sys.argv[1]))
"""
"""To answer at once, and only the form of it: one guess in ten is right."""


def with_bench() -> dict[str, str]:
    return environment(PYTHONPATH=f"{ROOT}{os.pathsep}{ROOT / 'bench'}")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require(find_spec("torch"), "torch is not installed: make test-train")
    folder = tmp_path_factory.mktemp("small") / "base"
    done = subprocess.run(
        [sys.executable, "-c", TEACH, str(folder)], env=with_bench(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


@contextmanager
def server_of(folder: Path) -> Iterator[str]:
    """Its address up to `/v1`."""
    command = [sys.executable, "-m", "small_world.server", str(folder)]
    process = subprocess.Popen(
        command, env=with_bench(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def upstream(base: Path) -> Iterator[str]:
    with server_of(base) as url:
        yield url


def drawn(url: str, prompt: str, **body: Any) -> httpx.Response:
    asked = {"model": "small", "messages": [{"role": "user", "content": prompt}], **body}
    told = {"logprobs": True, "return_token_ids": True}
    return httpx.post(f"{url}/chat/completions", json=asked | told, timeout=60)


def chains(count: int) -> list[tuple[str, str]]:
    """Prompts and answers, by the world's own rules without its modules."""
    found = []
    for number in range(count):
        digits = [1 + (number * (3 + 2 * place) + place) % 9 for place in range(5)]
        signs = ["pt"[(number >> place) % 2] for place in range(4)]
        value, prompt = digits[0], str(digits[0])
        for sign, digit in zip(signs, digits[1:], strict=True):
            value = (value + digit if sign == "p" else value * digit) % 10
            prompt += f"{sign}{digit}"
        found.append((f"{prompt}=", str(value)))
    return found


def test_a_sample_depends_on_its_own_seed_and_on_nothing_else_that_is_asked(upstream):
    alone = drawn(upstream, "7t3p4t9p2=", n=4, seed=11).json()
    with ThreadPoolExecutor(8) as users:
        others = [users.submit(drawn, upstream, "1p2p3p4p5=", n=8, seed=n) for n in range(7)]
        among = users.submit(drawn, upstream, "7t3p4t9p2=", n=4, seed=11).result().json()
        assert {each.result().status_code for each in others} == {200}

    assert [c["token_ids"] for c in among["choices"]] == [c["token_ids"] for c in alone["choices"]]
    second = drawn(upstream, "7t3p4t9p2=", seed=12).json()["choices"][0]
    assert second["token_ids"] == alone["choices"][1]["token_ids"]
    for choice in alone["choices"]:
        assert len(choice["logprobs"]["content"]) == len(choice["token_ids"])


def test_what_would_bend_the_distribution_is_refused(upstream):
    bent: list[Mapping[str, Any]] = [
        {"top_p": 0.9},
        {"top_k": 5},
        {"min_p": 0.1},
        {"presence_penalty": 1.0},
        {"logit_bias": {"3": 5}},
    ]

    assert {drawn(upstream, "1p2p3p4p5=", **body).status_code for body in bent} == {400}
    assert drawn(upstream, "1p2p3p4p5=", top_p=1, top_k=0, min_p=0).status_code == 200
    assert drawn(upstream, "1p2p3p4p5=", model="policy-7").status_code == 404


async def test_the_gateway_finds_nothing_lacking_for_a_log_to_train_on(upstream, tmp_path):
    settings = settings_for(tmp_path, upstream)
    engine = OpenAIEngine(settings.engines["main"], "main")
    try:
        can = await engine.capabilities()

        assert await engine.lacks() == ()
    finally:
        await engine.close()
    assert (can.server, can.n, can.token_ids, can.adapters) == ("vllm", True, True, True)
    assert can.processed_logprobs


def test_a_night_goes_from_logged_samples_to_a_policy_that_was_compared(base, tmp_path):
    rows = [
        {"prompt": prompt, "verifiers": [{"use": "number", "reference": answer}]}
        for prompt, answer in chains(96)
    ]
    held_out = tmp_path / "held_out.jsonl"
    held_out.write_text("".join(json.dumps(row) + "\n" for row in rows[64:]))
    config = tmp_path / "own.toml"
    with server_of(base) as upstream:
        config.write_text(CONFIG.format(upstream=upstream, base=base, held_out=held_out))
        known = ("--config", str(config), "--data", str(tmp_path / "data"))
        with serving(*known, "--port", "0") as (_, line):
            url = next(word for word in line.split() if word.startswith("http"))
            with ThreadPoolExecutor(8) as users:
                replies = list(users.map(lambda row: ask(url, row), rows[:64]))
            assert {reply.status_code for reply in replies} == {200}
            done = verivote("retrain", "run", *known, "--json")
            assert done.returncode == 0, done.stderr
            night = json.loads(done.stdout)
            admin = url.removesuffix("/v1")
            report = httpx.get(f"{admin}/v1/admin/retrain/{night['id']}").json()["report"]
            seed = date.fromisoformat(night["day"]).toordinal()
            alone = verivote(
                *("evaluate", "--policy", "policy-1", "--file", str(held_out)),
                *("--k", "4", "--seed", str(seed), *known, "--json"),
            )
            assert alone.returncode == 0, alone.stderr
        served = httpx.get(f"{upstream}/models").json()["data"]

    assert night["status"] in ("promoted", "refused"), night
    assert report["training"]["canary"]["mean"] < 1e-3
    assert len(report["training"]["curve"]) >= 4
    assert report["gate"]["metrics"]["pass_at_1"]["prompts"] == 32
    assert report["gate"]["metrics"]["greedy"]["prompts"] == 32
    # Asked alone with the night's seed, it says the same again.
    measured = {each["metric"]: each["mean"] for each in json.loads(alone.stdout)["metrics"]}
    compared = report["gate"]["metrics"]
    assert measured["pass_at_1"] == pytest.approx(compared["pass_at_1"]["candidate"])
    assert measured["greedy"] == pytest.approx(compared["greedy"]["candidate"])
    trained = next(model for model in served if model["id"] == "policy-1")
    assert Path(trained["root"]) == tmp_path / "data/policies/policy-1"
    assert (tmp_path / "data/policies/policy-1/model.safetensors").exists()


CONFIG = """
[engines.main]
base_url = "{upstream}"
model = "small"

[retrain]
base = "{base}"
lora_rank = 0
dtype = "float32"
lr = 3e-4
epochs = 1
groups_per_step = 4
min_groups = 8
threads = 1
canary = "off"

[retrain.guards]
m2_stop = 0
ess_stop = 0
entropy_drop = 0
grad_spike = 0

[retrain.gate]
file = "{held_out}"
samples = 4
min_prompts = 20
"""


def ask(url: str, row: Mapping[str, Any]) -> httpx.Response:
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": row["prompt"]}],
        "n": 8,
        "verify": {"mode": "always", "rule": "fixed", "n": 8, "verifiers": row["verifiers"]},
    }
    return httpx.post(f"{url}/chat/completions", json=body, timeout=120)
