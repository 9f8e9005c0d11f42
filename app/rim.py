"""What a request is answered with: everything that does I/O, the opened task, its clock and log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from app import __version__
from app.cache.base import Cache
from app.cache.near import NearIndex
from app.engines.base import Engine
from app.errors import StoreError
from app.group import Failure, Group, Span
from app.learning import Learning
from app.metrics import observe
from app.plan import Plan, VoteWeights
from app.policies import PolicyBook
from app.routing.routes import CompiledRoute
from app.scoring import Scorer
from app.settings import Settings
from app.spans import record_spans
from app.store.base import Store
from app.task import Task
from app.voting.confidence import Calibration
from verifiers.extract import EXTRACTOR_VERSION
from verifiers.rotation import Pool
from verifiers.run import Panel, Runner

log = logging.getLogger("verivote.gateway")

CLIENT_GONE = Failure(
    code="client_closed_request",
    message="The client closed the connection.",
    status=499,
    where="client",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rim:
    """Everything that does I/O, wired once by `app.main`."""

    settings: Settings
    engines: Mapping[str, Engine]
    runner: Runner
    cache: Cache
    store: Store
    pools: tuple[Pool, ...] = ()
    """Verifiers of which some look at each request."""
    routes: tuple[CompiledRoute, ...] = ()
    """The first that matches says how a request is answered."""
    near: NearIndex = field(default_factory=NearIndex)
    """Where routes may reuse answers to other wordings."""
    learning: Learning | None = None
    """What was learned of difficulty and confidence; None where nothing is."""
    policies: PolicyBook | None = None
    """Which trained policies serve; None where only base models do."""
    clock: Callable[[], float] = time.time
    """Unix time in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A task that was found answerable: its verifiers are prepared and its plan is made."""

    task: Task
    panel: Panel
    plan: Plan
    spans: tuple[Span, ...] = ()
    """What it took to get here: `admit` (from the request's arrival) and `plan`."""
    degraded: tuple[str, ...] = ()
    """What is away already: `policy` while an older one serves."""
    policy_key: str = ""
    """The key of the settings that names the plan's policy itself; empty where an alias or the
    client does."""


async def policy_of(engine: str, alias: str, task: Task, rim: Rim) -> str:
    """The policy that serves this request on an engine, else the engine's own model."""
    served = rim.policies.serving(engine, task.trace_id) if rim.policies else None
    return served if served is not None else await rim.engines[engine].model_for(alias)


async def log_group(group: Group, rim: Rim) -> Group:
    """The group, stamped and appended to the spool before its reply leaves; a log that is away is
    one word in the reply."""
    stamped = replace(group, gateway_version=__version__, extractor_version=EXTRACTOR_VERSION)
    group = stamped.finished(now_ms(group.task, rim))
    observe(group)
    record_spans(group, content=rim.settings.telemetry.content)
    try:
        await rim.store.append(group)
    except StoreError as error:
        log.error("trace %s was not stored: %s", group.trace_id, error.message)
        return group.with_degraded("store")
    return group


async def log_gone(group: Group, rim: Rim) -> None:
    """Keep what was drawn for a client who did not wait for it."""
    await log_group(group.with_error(CLIENT_GONE), rim)


def calibration_for(plan: Plan, rim: Rim) -> Calibration | None:
    """What the labels of the plan's route and policy say of confidence; None without enough."""
    return rim.learning.calibration_for(plan) if rim.learning else None


def weights_for(plan: Plan, rim: Rim) -> VoteWeights | None:
    """What votes weigh on the plan's route under its policy."""
    calibration = calibration_for(plan, rim)
    return calibration.weights if calibration else None


def scorer_of(task: Task, plan: Plan, opened: Opened, rim: Rim) -> Scorer:
    return Scorer(
        task=task,
        plan=plan,
        panel=opened.panel,
        runner=rim.runner,
        now_ms=lambda: now_ms(task, rim),
    )


def too_late(deadline_ms: int) -> Failure:
    return Failure(
        code="deadline_exceeded",
        message=f"No sample ended within {deadline_ms} ms; raise verify.deadline_ms.",
        status=504,
        where="deadline",
    )


def now_ms(task: Task, rim: Rim) -> float:
    return (rim.clock() - task.received_at) * 1000.0


def seconds_left(task: Task, rim: Rim, plan: Plan | None = None) -> float:
    """Until the deadline of the plan, which may be a stage's, else of the task."""
    deadline_ms = plan.deadline_ms if plan else task.options.deadline_ms
    return max(0.0, deadline_ms / 1000.0 - (rim.clock() - task.received_at))
