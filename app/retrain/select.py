"""Which logged groups a night trains on, and why the rest is left out.

The log is read twice: once to choose, keeping a few numbers a group, and once for the rows of what
was chosen, so a log of any size fits. The choice follows from log, settings and seed alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from app.retrain.advantages import difficulty_weights
from app.retrain.caps import cap_groups, cap_prompts, cap_tenants
from app.retrain.sieve import COMPARES, NEEDS, Candidate, Lineage, Sieve
from app.store.training_log import LoggedGroup

NAMED = 10
"""Tenants and policies that a report names; the largest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectSettings:
    """What a night may take from the log."""

    objective: str = "tapered"
    min_samples: int = 4
    """Sound samples that a group needs."""
    min_groups: int = 128
    """Fewer make a night mostly noise; it is skipped."""
    max_groups: int = 1_024
    """More do not fit: 16 groups a step, 2 epochs, 128 steps."""
    max_tokens: int = 16_384
    """Prompt and completion of one sample."""
    groups_per_prompt: int = 2
    tenant_share: float = 0.02
    """Largest share of the night's tokens of any one tenant."""
    trusted: frozenset[str] = frozenset(("local",))
    """Tenants without that limit; `local` is everybody while keys are off."""
    judges: bool = False
    """Whether the word of a judge alone is a reward."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A group that is trained on."""

    candidate: Candidate
    weight: float
    """q_g ∝ p(1 − p) of its pass rate, mean 1 over the night."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a night would train on."""

    kept: tuple[Kept, ...]
    """Easy ones first."""
    left_out: Mapping[str, int]
    """Groups, by reason."""
    samples_left_out: Mapping[str, int]
    """Samples of groups that were looked into, by reason."""
    seen: int
    """Groups looked at."""
    skip: str
    """Why there is nothing to train; empty when there is."""

    @property
    def tokens(self) -> int:
        return sum(kept.candidate.tokens for kept in self.kept)

    @property
    def samples(self) -> int:
        """Samples that are trained on."""
        return sum(len(k.candidate.samples) - len(k.candidate.compared_only) for k in self.kept)

    def trace_ids(self) -> list[str]:
        """In the order of training."""
        return [kept.candidate.trace_id for kept in self.kept]

    def to_json(self) -> dict[str, Any]:
        """For the night's report."""
        rates = Counter(min(9, int(10 * kept.candidate.pass_rate)) for kept in self.kept)
        return {
            "seen": self.seen,
            "groups": len(self.kept),
            "samples": self.samples,
            "tokens": self.tokens,
            "skip": self.skip,
            "left_out": dict(self.left_out),
            "samples_left_out": dict(self.samples_left_out),
            "pass_rates": [rates[tenth] for tenth in range(10)],
            "tokens_by_tenant": self._tokens_by("tenant"),
            "tokens_by_policy": self._tokens_by("policy"),
        }

    def _tokens_by(self, what: str) -> dict[str, int]:
        tokens: Counter[str] = Counter()
        for kept in self.kept:
            tokens[getattr(kept.candidate, what)] += kept.candidate.tokens
        return dict(tokens.most_common(NAMED))


class Selecting:
    """Looks at one group after the other; `finish` chooses."""

    def __init__(self, lineage: Lineage, settings: SelectSettings) -> None:
        self._lineage = lineage
        self._settings = settings
        self._sieve = Sieve(
            lineage=lineage,
            needs=NEEDS.get(settings.objective, COMPARES),
            min_samples=settings.min_samples,
            max_tokens=settings.max_tokens,
            judges=settings.judges,
        )
        self._candidates: list[Candidate] = []
        self._left_out: Counter[str] = Counter()
        self._samples: Counter[str] = Counter()
        self._seen = 0

    def look_at(self, logged: LoggedGroup) -> None:
        sieved = self._sieve.look_at(logged)
        self._seen += 1
        self._samples += sieved.samples
        if sieved.candidate is None:
            self._left_out[sieved.reason] += 1
        else:
            self._candidates.append(sieved.candidate)

    def finish(self, seed: int) -> Selection:
        settings, left_out = self._settings, Counter(self._left_out)
        chosen, dropped = cap_prompts(
            self._candidates, most=settings.groups_per_prompt, parent=self._lineage.parent
        )
        left_out["prompt_cap"] += len(dropped)
        chosen, dropped = cap_tenants(
            chosen, share=settings.tenant_share, trusted=settings.trusted, seed=seed
        )
        left_out["tenant_cap"] += len(dropped)
        chosen, dropped = cap_groups(
            chosen, most=settings.max_groups, parent=self._lineage.parent, seed=seed
        )
        left_out["night_full"] += len(dropped)
        chosen.sort(key=lambda c: (-c.pass_rate, c.trace_id))
        weights = difficulty_weights([c.pass_rate for c in chosen])
        return Selection(
            kept=tuple(Kept(candidate=c, weight=w) for c, w in zip(chosen, weights, strict=True)),
            left_out=_ranked(left_out),
            samples_left_out=_ranked(self._samples),
            seen=self._seen,
            skip=_why_skip(len(chosen), settings),
        )


def select_groups(
    log: Iterable[LoggedGroup], lineage: Lineage, settings: SelectSettings, *, seed: int
) -> Selection:
    """Choose from a log that is at hand as a whole."""
    selecting = Selecting(lineage, settings)
    for logged in log:
        selecting.look_at(logged)
    return selecting.finish(seed)


def rows_to_train(kept: Kept, logged: LoggedGroup) -> list[dict[str, Any]]:
    """The rows of a chosen group, as the trainer reads them.

    Worse samples of an older policy stay, because they say what is usual for the prompt, but as
    rows that may not be pushed down. `group_weight` is q_g.
    """
    candidate = kept.candidate
    rows = []
    for row in logged.rows():
        if row["sample"] not in candidate.samples:
            continue
        row["group_weight"] = kept.weight
        if row["sample"] in candidate.compared_only:
            row |= {"trainable": False, "not_trainable": "stale_negative"}
        rows.append(row)
    return rows


def describe(selection: Selection) -> str:
    """What would be used and why the rest was left out, for people."""
    lines = [
        f"{len(selection.kept):,} of {selection.seen:,} groups would be used: "
        f"{selection.samples:,} samples, {selection.tokens:,} tokens"
    ]
    if selection.kept:
        rates = [kept.candidate.pass_rate for kept in selection.kept]
        lines.append(
            f"pass rate {math.fsum(rates) / len(rates):.2f}, "
            f"from {max(rates):.2f} (first) to {min(rates):.2f} (last)"
        )
    lines += _listed("groups left out", selection.left_out)
    lines += _listed("samples left out", selection.samples_left_out)
    lines.append(f"The night is skipped: {selection.skip}" if selection.skip else "Ready to train.")
    return "\n".join(lines)


def _listed(title: str, counts: Mapping[str, int]) -> list[str]:
    if not counts:
        return []
    width = max(len(f"{count:,}") for count in counts.values())
    rows = [f"  {count:>{width},}  {WHY.get(r, r)} ({r})" for r, count in counts.items()]
    return [f"{title}:", *rows]


def _ranked(counts: Counter[str]) -> dict[str, int]:
    """Most frequent first, without zeros."""
    return dict(sorted((+counts).items(), key=lambda item: (-item[1], item[0])))


def _why_skip(groups: int, settings: SelectSettings) -> str:
    if groups >= settings.min_groups:
        return ""
    return f"{groups} groups can be used and a night needs {settings.min_groups}"


WHY: Mapping[str, str] = {
    "all_equal": "every sample earned the same",
    "all_right": "every sample was right",
    "all_wrong": "every sample was wrong",
    "altered": "what was served is not what the model wrote",
    "bad_logprobs": "a log probability is NaN, infinite, above 0 or a placeholder",
    "bad_reward": "the reward is not a number from 0 to 1",
    "cache_hit": "answered from the cache: nothing was drawn",
    "cancelled": "cut off before its end",
    "constrained_decoding": "a grammar or schema cut what could be sampled",
    "content_hash": "its text was not kept",
    "content_off": "its text was not kept",
    "content_redacted": "its text was changed to be kept",
    "doubted_verdict": "a verifier of it passed a known-bad answer",
    "empty_completion": "nothing was written",
    "failed": "no answer was drawn",
    "few_samples": "too few sound samples to compare",
    "finish_reason": "the server ended it in an unusual way",
    "greedy": "drawn at temperature 0",
    "held_out_audit": "its prompt is held out for audits",
    "held_out_gate": "its prompt is held out for the gate",
    "judge_alone": "only a judge graded it",
    "label_disagrees": "a person says the opposite of its verifiers",
    "logit_bias": "drawn with a logit bias",
    "misaligned_logprobs": "token ids and log probabilities differ in number",
    "night_full": "the night has as many groups as fit",
    "no_logprobs": "the engine gave no log probabilities",
    "no_prompt": "its prompt was not kept",
    "no_prompt_token_ids": "the engine gave no token ids of the prompt",
    "no_reward": "its reward is null: it could not be checked",
    "no_token_ids": "the engine gave no token ids",
    "none_verified": "no sample earned the full reward",
    "old_verifier": "another version of a verifier judged it",
    "other_base_model": "drawn from other weights",
    "other_chat_template": "written with another chat template",
    "other_policy": "drawn by a model that is no ancestor of this one",
    "other_prompt": "its siblings answered another form of the prompt",
    "other_tokenizer": "written with another tokenizer",
    "penalty": "drawn with a penalty",
    "program": "a program, not an answer in words",
    "prompt_cap": "the prompt is in the night often enough",
    "server_defaults": "drawn with sampling parameters of the server's own",
    "stale_negative": "a worse sample of an older policy: compared with, not pushed down",
    "tenant_cap": "its tenant supplies its share (retrain.trusted lifts the limit)",
    "too_long": "too long to train on",
    "top_p": "drawn from a cut distribution (top_p)",
    "truncated_distribution": "drawn from a cut distribution (top_k or min_p)",
    "unfinished": "cut off before its end",
    "unfounded_reward": "no verifier's verdict stands behind its reward",
    "unknown_temperature": "drawn at a temperature that is not known",
    "unprocessed_logprobs": "log probabilities of the bare model, not of what was sampled",
}
"""What each code means."""
