"""One logged group → what the night could learn from it, or why nothing.

Only what verifiers found can make a sample worth training on. What people say about an answer can
put its group aside and never raises a reward: otherwise whoever gives feedback writes the reward.
Nothing is repaired here: a sample whose ids, µ or reward are not sound is left out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.retrain.advantages import SAME
from app.store.base import CANARY_AUTHOR, Label
from app.store.training_log import LoggedGroup

Row = Mapping[str, Any]

LOGPROB_FLOOR = -9999.0
"""vLLM's value for a token outside the sampled support, or one it could not compute."""

_LAW_UNKNOWN = frozenset(
    (
        "server_defaults",
        "unknown_temperature",
        "greedy",
        "top_p",
        "truncated_distribution",
        "penalty",
        "logit_bias",
        "constrained_decoding",
        "unprocessed_logprobs",
        "no_logprobs",
        "misaligned_logprobs",
        "bad_logprobs",
    )
)
"""Samples whose µ is not known: they can be imitated and not compared."""
_NO_IDS = frozenset(("no_token_ids", "no_prompt_token_ids"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What an objective reads of a group."""

    mixed: bool = True
    """Samples of one group that did better and worse; else only verified ones."""
    logprobs: bool = True
    token_ids: bool = True
    """False: texts will do, because the trainer tokenises them."""


COMPARES = Needs()
IMITATES = Needs(mixed=False, logprobs=False)
DISTILS = Needs(mixed=False, logprobs=False, token_ids=False)
NEEDS: Mapping[str, Needs] = {"sft": IMITATES, "distill": DISTILS}
"""By objective; every other one compares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """The policy that is trained on, and what its samples must have in common with it."""

    parent: str
    """The policy that this night starts from."""
    ancestors: frozenset[str] = frozenset()
    """Older policies of the same base, and the base. Their better samples may still be used."""
    base_model_digest: str | None = None
    tokenizer_digest: str | None = None
    chat_template_digest: str | None = None
    """None is not compared, and neither is a sample of which the engine did not tell."""
    verifiers: Mapping[str, str] = field(default_factory=dict)
    """Name → version in use; samples that another version judged are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A group that could be trained on."""

    trace_id: str
    tenant: str
    policy: str
    prompt_hash: str
    received_at: float
    samples: tuple[int, ...]
    """Indexes of the samples that take part, in drawing order."""
    compared_only: tuple[int, ...]
    """Those among them that only say what is usual: worse samples of an older policy."""
    pass_rate: float
    """Mean reward of the samples."""
    tokens: int
    """Tokens of prompt and completion that are trained on."""


@dataclass(frozen=True, slots=True)
class Sieved:
    """What became of one group."""

    candidate: Candidate | None
    reason: str
    """Why there is no candidate; empty when there is one."""
    samples: Counter[str]
    """Samples left out, by reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sieve:
    """The rules that hold for each group alone."""

    lineage: Lineage
    needs: Needs = COMPARES
    min_samples: int = 4
    """Fewer cannot be compared."""
    max_tokens: int = 16_384
    """Prompt and completion of one sample."""
    judges: bool = False
    """Whether the word of a judge alone is a reward."""

    def look_at(self, logged: LoggedGroup) -> Sieved:
        rows = logged.rows()
        samples: Counter[str] = Counter()
        if reason := _why_not_group(logged, rows):
            return Sieved(None, reason, samples)
        sound = []
        for row in rows:
            if reason := self.why_not_row(row):
                samples[reason] += 1
            else:
                sound.append(row)
        alike = self._comparable(sound)
        samples["other_prompt"] += len(sound) - len(alike)
        if not self.needs.mixed:
            return self._imitated(alike, +samples)
        if len(alike) < self.min_samples:
            return Sieved(None, _commonest(+samples) or "few_samples", +samples)
        return self._compared(alike, +samples)

    def why_not_row(self, row: Row) -> str:
        """Code of the first thing that keeps a sample out, or nothing."""
        checks = (self._why_not_drawn, _why_not_numbers, self._why_not_origin, self._why_not_reward)
        return next((reason for check in checks if (reason := check(row))), "")

    def _why_not_drawn(self, row: Row) -> str:
        reason = row["not_trainable"]
        if not self.needs.logprobs and reason in _LAW_UNKNOWN:
            reason = _missing_ids(row) if self.needs.token_ids else ""
        if not self.needs.token_ids and reason in _NO_IDS:
            reason = ""
        if reason or row["trainable"] or not self.needs.logprobs:
            return str(reason)
        return "not_trainable"

    def _why_not_origin(self, row: Row) -> str:
        lineage = self.lineage
        if self.needs.logprobs and row["policy"] not in (lineage.parent, *lineage.ancestors):
            return "other_policy"
        if not self.needs.token_ids:
            return ""
        for what in ("base_model", "tokenizer", "chat_template"):
            ours, theirs = getattr(lineage, f"{what}_digest"), row[f"{what}_digest"]
            if ours is not None and theirs is not None and ours != theirs:
                return f"other_{what}"
        tokens = len(row["prompt_token_ids"]) + len(row["token_ids"])
        return "too_long" if tokens > self.max_tokens else ""

    def _why_not_reward(self, row: Row) -> str:
        reward = row["reward"]
        if reward is None:
            return "no_reward"
        if not isinstance(reward, int | float) or not 0 <= reward <= 1:
            return "bad_reward"
        judged = {(v["role"], v["status"]) for v in row["verdicts"]}
        graded = {role for role, status in judged if status in ("pass", "fail")}
        stopped = {("gate", "fail"), ("policy", "fail")} & judged
        if not graded & {"outcome", "judge"} and not stopped:
            return "unfounded_reward"
        if "judge" in graded and "outcome" not in graded and not self.judges:
            return "judge_alone"
        versions = self.lineage.verifiers
        if any(v["version"] != versions.get(v["verifier"], v["version"]) for v in row["verdicts"]):
            return "old_verifier"
        return ""

    def _comparable(self, rows: Sequence[Row]) -> list[Row]:
        """The largest set of samples that answer the same prompt under the same law."""
        if not self.needs.mixed:
            return list(rows)
        kinds: dict[Any, list[Row]] = {}
        for row in rows:
            law = (row["policy"], row["temperature"], tuple(row["prompt_token_ids"]))
            kinds.setdefault(law, []).append(row)
        parent = self.lineage.parent
        return max(kinds.values(), key=lambda k: (k[0]["policy"] == parent, len(k)), default=[])

    def _imitated(self, rows: Sequence[Row], samples: Counter[str]) -> Sieved:
        good = [row for row in rows if row["reward"] >= 1 - SAME]
        if not good:
            return Sieved(None, _commonest(samples) if not rows else "none_verified", samples)
        return Sieved(_candidate(good, (), rows), "", samples)

    def _compared(self, rows: Sequence[Row], samples: Counter[str]) -> Sieved:
        rewards = [row["reward"] for row in rows]
        mean = math.fsum(rewards) / len(rewards)
        if max(rewards) - min(rewards) <= SAME:
            reason = (
                "all_right" if mean >= 1 - SAME else "all_wrong" if mean <= SAME else "all_equal"
            )
            return Sieved(None, reason, samples)
        # A worse sample of an older policy may be one that the parent no longer draws; pushing
        # it down further is how off-policy training blows up. A better one is always welcome.
        is_fresh = rows[0]["policy"] == self.lineage.parent
        worse = [row for row in rows if row["reward"] < mean]
        stale = () if is_fresh else tuple(row["sample"] for row in worse)
        samples["stale_negative"] += len(stale)
        return Sieved(_candidate(rows, stale, rows), "", +samples)


def _candidate(used: Sequence[Row], compared_only: Sequence[int], rows: Sequence[Row]) -> Candidate:
    first = used[0]
    trained = [row for row in used if row["sample"] not in compared_only]
    return Candidate(
        trace_id=first["trace_id"],
        tenant=first["tenant"],
        policy=first["policy"],
        prompt_hash=first["prompt_hash"],
        received_at=first["received_at"],
        samples=tuple(row["sample"] for row in used),
        compared_only=tuple(compared_only),
        pass_rate=math.fsum(row["reward"] for row in rows) / len(rows),
        tokens=sum(row["prompt_tokens"] + row["completion_tokens"] for row in trained),
    )


def _why_not_group(logged: LoggedGroup, rows: Sequence[Row]) -> str:
    if logged.group.error is not None or not rows:
        return "failed"
    if logged.group.cache.hit:
        return "cache_hit"
    if rows[0]["prompt_hash"] is None:
        return "no_prompt"
    if rows[0]["split"] != "train":
        return f"held_out_{rows[0]['split']}"
    if any(label.kind == "note" and label.author == CANARY_AUTHOR for label in logged.labels):
        return "doubted_verdict"
    if any(_disagrees(label, logged, rows) for label in logged.labels):
        return "label_disagrees"
    return ""


def _disagrees(label: Label, logged: LoggedGroup, rows: Sequence[Row]) -> bool:
    """True when a person says the opposite of the verifiers: one of them is wrong."""
    decision = logged.group.decision
    about = label.sample if label.sample is not None else decision and decision.winner
    reward = next((row["reward"] for row in rows if row["sample"] == about), None)
    if label.kind == "note" or reward is None:
        return False
    return (label.kind == "right") is not bool(reward > 0.5)


def _name_of_equal(reward: float) -> str:
    if reward >= 1 - SAME:
        return "all_right"
    return "all_wrong" if reward <= SAME else "all_equal"


def _missing_ids(row: Row) -> str:
    if not row["token_ids"]:
        return "no_token_ids"
    return "" if row["prompt_token_ids"] else "no_prompt_token_ids"


def _why_not_numbers(row: Row) -> str:
    """Looks again at what the engine already looked at: a log can have been written by others."""
    if not row["text"].strip() and not row["tool_calls"]:
        return "empty_completion"
    if not row["trainable"]:
        return ""
    mu = row["logprobs"]
    if len(mu) != len(row["token_ids"]):
        return "misaligned_logprobs"
    # Half of a bf16 step above zero is rounding; more is not a log probability.
    if not all(math.isfinite(value) and LOGPROB_FLOOR < value <= 0.01 for value in mu):
        return "bad_logprobs"
    return ""


def _commonest(samples: Counter[str]) -> str:
    """The reason that most samples share; the first by name among equals."""
    return min(samples, key=lambda reason: (-samples[reason], reason), default="")
