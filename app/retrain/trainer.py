"""The trainer: logged groups → a policy, on one device or many.

`PeftEngine` trains a LoRA adapter (or, for tiny models, every weight) with PEFT and transformers;
accelerate spreads it over processes where it was started by `accelerate launch`. Each step is
AdamW (0.9, 0.95) without decay on a clipped gradient, after the guards had their say. A run is a
function of its job, its rows and the number of processes: killed at any moment and started again,
it ends with the same bits. It does not sample, judge or promote.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, gather_object
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from app import __version__
from app.errors import ConfigError
from app.retrain.adapter import save_adapter
from app.retrain.canary import check_canary
from app.retrain.checkpoint import Checkpoints, State
from app.retrain.config import BETAS, CanarySettings, TrainConfig
from app.retrain.engine import Trained
from app.retrain.examples import TrainingGroup
from app.retrain.folders import digest, write_folder
from app.retrain.guards import Guards, Measured
from app.retrain.history import History
from app.retrain.measuring import Sums
from app.retrain.model import check_ids, prepare_model
from app.retrain.objectives import make_objective
from app.retrain.objectives.base import Objective
from app.retrain.plan import Step, Unit, count_steps, learning_rate, make_step, make_units
from app.retrain.plan import digest as digest_rows
from app.retrain.scoring import score
from app.retrain.tensors import make_batch, make_filling

CHECKPOINTS = "checkpoints"
METRICS = "metrics.jsonl"
ABOUT = "policy.json"
"""In a policy's folder: where it comes from."""

OnStep = Callable[[Measured, int], None]
"""Told of every step and of how many there will be, in the first process only."""


class PeftEngine:
    """Trains in this process, or in this and its siblings. Writes under `folder`, and the policy
    under `out`. `canary` looks at rows of `parent_policy` before the first step."""

    def __init__(
        self,
        folder: Path,
        *,
        out: Path | None = None,
        canary: CanarySettings | None = None,
        parent_policy: str = "",
        on_step: OnStep | None = None,
    ) -> None:
        self._folder = folder
        self._out = out or folder
        self._canary = canary
        self._parent_policy = parent_policy
        self._on_step = on_step

    def train(
        self,
        groups: Sequence[TrainingGroup],
        base: Path,
        parent_adapter: Path | None,
        cfg: TrainConfig,
    ) -> Trained:
        """Train, or go on where a run of the same job and rows was ended."""
        objective = make_objective(cfg.objective, cfg.objective_options)
        units = make_units(groups, objective, cfg.shaping)
        if not units:
            return Trained(
                outcome="refused",
                reason=f"none of {len(groups)} groups has what {cfg.objective} learns from",
            )
        origin = {"base": str(base), "parent_adapter": str(parent_adapter or "")}
        target = self._out / cfg.name
        job = _job_digest(cfg, origin, units)
        if target.exists():
            return _made_before(target, job)
        model = prepare_model(base, parent_adapter, cfg)
        check_ids(model, groups)
        run = _Run(self._folder, cfg, objective, units, model, job)
        first = run.resume()
        canary = None
        if first == 0 and self._canary is not None:
            canary = check_canary(run.model, groups, self._parent_policy, self._canary)
            if canary.reason:
                return Trained(outcome="refused", reason=canary.reason, canary=canary)
        return replace(run.go(first, target, origin, self._on_step), canary=canary)


class _Run:
    """One run: the loop and its state."""

    def __init__(
        self,
        folder: Path,
        cfg: TrainConfig,
        objective: Objective,
        units: tuple[tuple[Unit, ...], ...],
        model: Any,
        job: str,
    ) -> None:
        self._folder = folder
        self._cfg = cfg
        self._objective = objective
        self._units = units
        self._job = job
        self._accelerator = Accelerator()
        _check_processes(self._accelerator)
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=cfg.lr, betas=BETAS, weight_decay=0.0)
        self._model, self._optimizer = self._accelerator.prepare(model, optimizer)
        self._checkpoints = Checkpoints(folder / CHECKPOINTS)
        self._guards = Guards(cfg.guards)
        self._steps = count_steps(
            len(units),
            groups_per_step=cfg.groups_per_step,
            epochs=cfg.epochs,
            max_steps=cfg.max_steps,
        )

    @property
    def model(self) -> Any:
        """As this process holds it: whole, or a shard."""
        return self._model

    def go(
        self, first: int, target: Path, origin: dict[str, str], on_step: OnStep | None
    ) -> Trained:
        """Train from step `first` on."""
        started = time.perf_counter()
        writes = self._accelerator.is_main_process
        history = History(self._folder / METRICS if writes else None)
        history.cut(first)
        reason, bad = "", None
        for number in range(first, self._steps):
            measured, reason = self._step(number)
            history.add(measured)
            if writes and on_step is not None:
                on_step(measured, self._steps)
            if reason:
                bad = number
                break
            if (number + 1) % self._cfg.checkpoint_every == 0:
                self._save(number + 1)
        metrics = history.summary() | {"seconds": time.perf_counter() - started}
        return self._finish(target, origin, metrics, reason=reason, bad=bad)

    def _step(self, number: int) -> tuple[Measured, str]:
        """Measure, and update unless a bound is passed; then the reason comes back."""
        cfg, accelerator = self._cfg, self._accelerator
        started = time.perf_counter()
        step = make_step(
            self._units,
            number,
            seed=cfg.seed,
            groups_per_step=cfg.groups_per_step,
            token_budget=cfg.token_budget,
            easy_first=cfg.easy_first,
            ranks=accelerator.num_processes,
        )
        sums = self._backward(step)
        norm = accelerator.clip_grad_norm_(self._model.parameters(), cfg.grad_clip)
        measured = sums.measured(
            accelerator.reduce(sums.tensor(), reduction="sum"),
            number=number,
            step=step,
            grad_norm=_number(norm),
            lr=learning_rate(number, self._steps, peak=cfg.lr, warmup=cfg.warmup),
        )
        reason = self._guards.check(measured)
        if not reason:
            for group in self._optimizer.param_groups:
                group["lr"] = measured.lr
            self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - started
        return replace(
            measured,
            seconds=seconds,
            tokens_per_s=step.size / seconds,
            alarms=self._guards.alarms(measured),
        ), reason

    def _backward(self, step: Step) -> Sums:
        """The gradient of the whole step's loss. Processes average theirs, so each scales up."""
        accelerator = self._accelerator
        micro_batches = step.shares[accelerator.process_index]
        sums = Sums(accelerator.device)
        with_bonus = self._objective.entropy_bonus > 0
        for number, rows in enumerate(micro_batches):
            last = number == len(micro_batches) - 1
            batch = make_batch(rows) if rows else make_filling(step.any_row)
            batch = batch.to(accelerator.device)
            with contextlib.nullcontext() if last else accelerator.no_sync(self._model):
                with self._computing():
                    logprobs, entropy = score(self._model, batch, entropy_grad=with_bonus)
                loss = self._objective.loss(batch, logprobs, entropy, step.denominators)
                (loss.total * accelerator.num_processes).backward()
            sums.add(batch, logprobs, entropy, loss.total, loss.metrics)
        return sums

    @contextlib.contextmanager
    def _computing(self) -> Iterator[None]:
        low = self._cfg.dtype == "bfloat16"
        with torch.autocast(self._accelerator.device.type, dtype=torch.bfloat16, enabled=low):
            yield

    def resume(self) -> int:
        """Updates that the weights have had: those of the newest checkpoint, else 0."""
        # Processes that read different rows would wait for each other for ever.
        if len(set(gather_object([self._job]))) > 1:
            raise ConfigError("the processes of this run read different jobs or rows")
        if self._accelerator.is_main_process:
            self._checkpoints.clean()
        self._accelerator.wait_for_everyone()
        state = self._checkpoints.load()
        if state is None:
            return 0
        if state.job != self._job:
            raise ConfigError(
                f"{self._folder / CHECKPOINTS} belongs to another job or other rows: "
                "remove it or use another folder"
            )
        self._restore(state)
        return state.step

    def _restore(self, state: State) -> None:
        options = StateDictOptions(full_state_dict=True, strict=False)
        set_model_state_dict(self._model, dict(state.weights), options=options)
        set_optimizer_state_dict(
            self._model, self._optimizer.optimizer, dict(state.optimizer), options=options
        )
        self._guards = Guards(
            self._cfg.guards, list(state.guards["entropies"]), list(state.guards["grad_norms"])
        )
        if len(state.rng) == self._accelerator.num_processes:
            _set_rng(state.rng[self._accelerator.process_index])

    def _save(self, done: int) -> None:
        options = _WHOLE
        weights = get_model_state_dict(self._model, options=options)
        moments = get_optimizer_state_dict(self._model, self._optimizer.optimizer, options=options)
        rng = gather_object([_get_rng()])
        if self._accelerator.is_main_process:
            state = State(
                step=done,
                job=self._job,
                weights=weights,
                optimizer=moments,
                rng=tuple(rng),
                guards={
                    "entropies": self._guards.entropies,
                    "grad_norms": self._guards.grad_norms,
                },
            )
            self._checkpoints.save(state)
        self._accelerator.wait_for_everyone()

    def _finish(
        self,
        target: Path,
        origin: dict[str, str],
        metrics: dict[str, Any],
        *,
        reason: str,
        bad: int | None,
    ) -> Trained:
        """Keep the policy: as it is now, or as it was before the `bad` number of updates."""
        steps = self._steps
        if bad is not None:
            state = self._checkpoints.load(below=bad)
            if state is None:
                return Trained(outcome="stopped", reason=reason, metrics=metrics)
            self._restore(state)
            steps = state.step
        weights = get_model_state_dict(self._model, options=_WHOLE)
        about = origin | {
            "name": self._cfg.name,
            "outcome": "stopped" if reason else "finished",
            "reason": reason,
            "steps": steps,
            "objective": self._cfg.objective,
            "job": self._job,
            "verivote": __version__,
            "torch": torch.__version__,
        }
        if self._accelerator.is_main_process:
            write_folder(target, lambda folder: self._write(folder, weights, about))
            if not reason:
                shutil.rmtree(self._folder / CHECKPOINTS, ignore_errors=True)
        self._accelerator.wait_for_everyone()
        return replace(_made_before(target, self._job), metrics=metrics)

    def _write(self, folder: Path, weights: dict[str, Any], about: dict[str, Any]) -> None:
        model = self._accelerator.unwrap_model(self._model)
        if self._cfg.lora is None:
            model.save_pretrained(folder, state_dict=weights)
            for file in Path(about["base"]).glob("*token*"):
                shutil.copy(file, folder / file.name)
        else:
            save_adapter(model, weights, folder)
        (folder / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")


_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
"""Weights and moments are saved whole, in whatever way they are spread over processes."""


def _job_digest(cfg: TrainConfig, origin: dict[str, str], units: Sequence[Sequence[Unit]]) -> str:
    """Hex sha256 of all that decides what comes out."""
    settings = json.dumps([cfg.model_dump(mode="json"), origin], sort_keys=True)
    return hashlib.sha256(f"{settings}\n{digest_rows(units)}".encode()).hexdigest()


def _made_before(target: Path, job: str) -> Trained:
    """What is under the policy's name. Raises `ConfigError` when another run made it."""
    try:
        about = json.loads((target / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        about = {}
    if about.get("job") != job:
        raise ConfigError(
            f"train.name: {target} exists and came from another job; names are used once"
        )
    return Trained(
        outcome=about["outcome"],
        reason=about["reason"],
        folder=target,
        sha256=digest(target),
        steps=about["steps"],
    )


def _check_processes(accelerator: Accelerator) -> None:
    """Raises `ConfigError` where processes would train beside one another, or weights would not be
    spread as was asked: accelerate says neither."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != started:
        raise ConfigError(
            f"{started} processes were started without a GPU for each: "
            "set ACCELERATE_USE_CPU=true to train on processors"
        )
    spread = accelerator.distributed_type is DistributedType.FSDP
    if os.environ.get("ACCELERATE_USE_FSDP") == "true" and not spread:
        raise ConfigError("FSDP needs several GPUs: weights cannot be spread over processors")


def _number(norm: Any) -> float:
    """A norm over sharded weights comes as a distributed tensor."""
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)


def _get_rng() -> dict[str, Any]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _set_rng(state: Any) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])
