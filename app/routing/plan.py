"""Task → plan: easy or hard, how many samples at first and at most, with which parameters.

Pure: the same task, panel and settings give the same plan.
"""

from __future__ import annotations

import hashlib

from app.group import Effort, Plan, Reason, Route, Task, VerifierRef
from app.routing.difficulty import THRESHOLD, score_difficulty
from app.routing.features import read_features
from app.settings import DefaultSettings
from verifiers.base import AnswerContract

CAPS: dict[Effort, int] = {"low": 8, "medium": 16, "high": 40}
MARGIN = 3
SEED_LIMIT = 2**31 - 1
"""Seeds stay in the range that every server accepts."""


def make_plan(
    task: Task,
    *,
    contract: AnswerContract,
    verifiers: tuple[VerifierRef, ...],
    policy: str,
    defaults: DefaultSettings,
) -> Plan:
    """How the task will be answered.

    Off: the client's own parameters, one round of as many samples as it wants choices. Easy: one
    sample, more only when a verifier refutes it. Hard: rounds until the vote or a verifier settles
    it. Where nothing can be checked and nothing counted, more samples could not decide anything,
    so the task is easy however difficult it looks.
    """
    decisive = any(ref.decisive for ref in verifiers)
    features = read_features(task.prompt(), contract, verifiers=len(verifiers), decisive=decisive)
    difficulty, reasons = score_difficulty(features)
    options = task.options
    countable = contract.kind != "none" or bool(verifiers)
    route: Route
    if options.mode == "off":
        route = "off"
        reasons = (Reason(feature="mode", value="off", contribution=0.0),)
    elif not countable:
        route = "easy"
        reasons = (Reason(feature="nothing_to_check", value=True, contribution=0.0), *reasons)
    elif options.mode == "always":
        route = "hard"
        reasons = (Reason(feature="mode", value="always", contribution=0.0), *reasons)
    else:
        route = "hard" if difficulty >= THRESHOLD else "easy"

    cap = options.n or CAPS[options.effort]
    if route == "off" or not countable:
        cap = 1
    cap = max(cap, task.choices)
    first_round = MARGIN if route == "hard" else 1
    one_sample = cap == 1
    sent = task.parameters
    return Plan(
        route=route,
        difficulty=round(difficulty, 4),
        threshold=THRESHOLD,
        reasons=reasons,
        rule=defaults.rule,
        first_round=min(max(first_round, task.choices), cap),
        cap=cap,
        margin=MARGIN,
        engine=task.engine,
        policy=policy,
        contract=contract,
        verifiers=verifiers,
        # Clients send low temperatures by habit; samples that are all alike cannot be voted on.
        temperature=sent.temperature if route == "off" or one_sample else defaults.temperature,
        top_p=sent.top_p if route == "off" or one_sample else None,
        max_tokens=sent.max_tokens,
        seed=sent.seed if sent.seed is not None else seed_of(task.trace_id),
        deadline_ms=options.deadline_ms,
        live=one_sample and not verifiers,
    )


def seed_of(*parts: object) -> int:
    """A stable seed in 0..2^31-2 from any printable parts."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") % SEED_LIMIT
