"""One night: choose from the log, train, compare with what serves, and promote or refuse.

Every step can be interrupted. The night's row says whose it is, its folder holds what was chosen
and how far training came, and the report is kept before anything follows from it; so whoever takes
a night over ends where its first owner would have. What it cannot do alone (asking the model,
loading adapters) is handed in.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.errors import ConfigError, RequestError, StoreError, VerivoteError
from app.retrain.choosing import Chosen, Window, choose
from app.retrain.evidence import Outcome, pair_up
from app.retrain.gate import GateSettings, GateVerdict, judge
from app.retrain.job import JobFolder, base_folder, make_job
from app.retrain.moving import compare
from app.retrain.objectives import check_name
from app.retrain.process import base_tokenizer, find_python, make_command, train
from app.retrain.report import Night, NightStatus, history_of, night_report
from app.retrain.select import Selection
from app.retrain.sieve import Lineage
from app.settings import RetrainSettings
from app.store.nights import HEARTBEAT_S, Claim, NightRow, Nights
from app.store.policies import Policy, PolicyTable, lineage_of

DAY_S = 86_400.0
EARLIER = 30
"""Former nights that a report draws."""

log = logging.getLogger("verivote.night")

Load = Callable[[str, Path], Awaitable[None]]
"""Load a policy (name, folder) on every replica. Raises `EngineError`."""
Evaluate = Callable[[str, int], Awaitable[tuple[Outcome, ...]]]
"""How a model of this name answers the held-out prompts: the same ones, seeded by that number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NightParts:
    """What a night works with."""

    database_url: str
    nights: Nights
    policies: PolicyTable
    base_model: Callable[[], Awaitable[str]]
    """Name under which the engine's own model answers and is logged."""
    engine_model: str
    """Setting `model` of the engine, which may be the folder of its files."""
    load: Load
    evaluate: Evaluate
    verifiers: Mapping[str, str]
    """Name → version, as in use."""
    data: Path
    owner: str
    """Who works on it; another one for each process."""
    goes_on: bool = True
    """Interrupted, the night is left to whoever comes next; False: it has failed."""
    clock: Callable[[], float] = time.time
    tell: Callable[[str], None] = log.info
    """Hears how far it is."""


class Lost(Exception):
    """Another process has taken the night over."""


def today(now: float) -> date:
    return datetime.fromtimestamp(now, UTC).date()


async def claim_night(
    parts: NightParts,
    settings: RetrainSettings,
    day: date,
    *,
    again: bool = False,
) -> Claim:
    """Make a night ours, if nobody has it. Raises `ConfigError` for one that could not begin."""
    check_objective(settings)
    make_command(Path(), settings)
    base_folder(settings, parts.engine_model)
    return await parts.nights.claim(
        day,
        settings.engine,
        objective=settings.objective,
        settings=settings.model_dump(mode="json"),
        owner=parts.owner,
        now=parts.clock(),
        again=again,
    )


def check_objective(settings: RetrainSettings) -> None:
    """Raises `ConfigError` with the setting's name."""
    try:
        check_name(settings.objective)
    except ConfigError as unknown:
        raise ConfigError(f"retrain.{unknown.message}") from None


async def plan_night(parts: NightParts, settings: RetrainSettings, day: date) -> Selection:
    """What a night of this day would train on. Nothing is written."""
    check_objective(settings)
    lineage = await _lineage(parts, settings)
    window = _window(settings, day, parts.clock())
    seed = _seed(settings, day)
    chosen = await choose(parts.database_url, window, lineage, settings, seed=seed, with_rows=False)
    return chosen.selection


async def work_night(night: NightRow, parts: NightParts) -> NightRow:
    """Run a night that was claimed, to its end, whatever that is.

    Cancelled, it leaves the night to whoever comes next. Raises `StoreError` when its end could
    not be written: the night stays running and is taken over.
    """
    run = _Run(night, parts)
    try:
        status, reason = await _while_ours(run.go(), run)
    except Lost:
        log.warning("night %s was taken over by another process", night.id)
        return await parts.nights.get(night.id)
    except asyncio.CancelledError:
        await asyncio.shield(_interrupted(run))
        raise
    except StoreError:
        raise
    except VerivoteError as failed:
        status, reason = "failed", failed.message
    except Exception as failed:
        log.exception("night %s failed", night.id)
        status, reason = "failed", f"{type(failed).__name__}: {failed}"
    now = parts.clock()
    report = run.report(status, reason, finished_at=now)
    await parts.nights.finish(night.id, status=status, report=report, now=now)
    parts.tell(f"{status}: {reason}")
    return await parts.nights.get(night.id)


async def _interrupted(run: _Run) -> None:
    night, parts = run.night, run.parts
    if parts.goes_on:
        await parts.nights.let_go(night.id, parts.owner)
        return
    now = parts.clock()
    report = run.report("failed", "interrupted", finished_at=now)
    await parts.nights.finish(night.id, status="failed", report=report, now=now)


async def _while_ours(work: Any, run: _Run) -> tuple[NightStatus, str]:
    """Do the work while the row says it is ours. Raises `Lost`."""
    doing = asyncio.ensure_future(work)
    beating = asyncio.ensure_future(run.beat())
    try:
        await asyncio.wait((doing, beating), return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            done: tuple[NightStatus, str] = doing.result()
            return done
        beating.result()
        raise Lost
    finally:
        for task in (doing, beating):
            task.cancel()
        await asyncio.gather(doing, beating, return_exceptions=True)


@dataclass
class _Run:
    """A night in progress, and what it found so far."""

    night: NightRow
    parts: NightParts
    phase: str = "begun"
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time of each phase."""
    selection: dict[str, Any] | None = None
    drift: dict[str, Any] | None = None
    training: dict[str, Any] | None = None
    steps: list[dict[str, Any]] = field(default_factory=list)
    verdict: GateVerdict | None = None
    pairs: tuple[Any, ...] = ()
    earlier: list[Mapping[str, Any]] = field(default_factory=list)
    parent: str = ""

    async def beat(self) -> None:
        """Say every few seconds that it goes on; returns when the night is no longer ours."""
        parts = self.parts
        while True:
            try:
                now = parts.clock()
                if not await parts.nights.beat(
                    self.night.id, parts.owner, phase=self.phase, now=now
                ):
                    return
            except StoreError as away:
                log.warning("night %s cannot say that it goes on: %s", self.night.id, away.message)
            await asyncio.sleep(HEARTBEAT_S)

    async def go(self) -> tuple[NightStatus, str]:
        """How it ended and why."""
        parts, night = self.parts, self.night
        known = await parts.policies.list(night.schedule)
        made = next((p for p in known if p.name == night.policy), None)
        if made is not None and made.status != "candidate":
            return _ended_before(made)
        settings = _settings_of(night)
        active = next((p for p in known if p.status == "active"), None)
        base_model = await parts.base_model()
        self.parent = active.name if active else base_model
        self.earlier = await self._earlier()
        folder = JobFolder(parts.data / "nights" / night.id)
        job = make_job(
            settings,
            name=night.policy,
            base=base_folder(settings, parts.engine_model),
            base_model=base_model,
            parent=active,
            out=(parts.data / "policies").resolve(),
            seed=_seed(settings, night.day),
        )
        with self._in("select"):
            skip = await self._select(folder, job, settings)
        with self._in("drift"):
            self.drift = await self._drift(settings)
        if skip:
            return "skipped", skip
        with self._in("train"):
            result = await self._train(folder, settings)
        if result["outcome"] != "finished":
            status: NightStatus = "stopped" if result["outcome"] == "stopped" else "refused"
            return status, result["reason"]
        policy = Policy(
            name=night.policy,
            engine=night.schedule,
            parent=active.name if active else None,
            base_model=base_model,
            path=result["folder"],
            sha256=result["sha256"],
            created_at=parts.clock(),
            night_id=night.id,
        )
        await parts.policies.add(policy)
        return await self._judge(policy, folder, settings)

    async def _select(
        self, folder: JobFolder, job: Mapping[str, Any], settings: RetrainSettings
    ) -> str:
        """Why there is nothing to train on; nothing when the folder is ready."""
        if folder.is_of(job):
            self.selection = folder.selection()
            self.parts.tell("going on with what was chosen before")
            return ""
        lineage = await _lineage(self.parts, settings)
        chosen: Chosen = await choose(
            self.parts.database_url,
            _window(settings, self.night.day, self.night.started_at),
            lineage,
            settings,
            seed=_seed(settings, self.night.day),
            with_rows=True,
        )
        self.selection = chosen.selection.to_json()
        if not chosen.selection.skip:
            self.parts.tell(f"chose {len(chosen.selection.kept)} of {chosen.selection.seen} groups")
            await asyncio.to_thread(self._write, folder, job, chosen)
        return chosen.selection.skip

    async def _drift(self, settings: RetrainSettings) -> dict[str, Any] | None:
        """Whether the traffic that is trained on is that of before. It warns and stops nothing."""
        after = _window(settings, self.night.day, self.night.started_at)
        before = Window(since=2 * after.since - after.until, until=after.since)
        url = self.parts.database_url
        try:
            moving = await compare(url, before, after, engine=settings.engine)
        except StoreError as away:
            log.warning("night %s cannot look for drift: %s", self.night.id, away.message)
            return None
        if moved := moving.report.drifted:
            self.parts.tell(f"the traffic has moved: {', '.join(moved)}")
        return moving.to_json()

    def _write(self, folder: JobFolder, job: Mapping[str, Any], chosen: Chosen) -> None:
        folder.begin()
        folder.write(job, chosen.rows, chosen.selection.to_json())

    async def _train(self, folder: JobFolder, settings: RetrainSettings) -> Mapping[str, Any]:
        command = make_command(folder.path, settings)
        try:
            result = await train(
                folder, command, on_steps=lambda n: self.parts.tell(f"trained {n} steps")
            )
        finally:
            self.steps = folder.steps()
        self.training = dict(result)
        return result

    async def _judge(
        self, policy: Policy, folder: JobFolder, settings: RetrainSettings
    ) -> tuple[NightStatus, str]:
        parts = self.parts
        with self._in("load"):
            await parts.load(policy.name, Path(str(policy.path)))
        with self._in("evaluate"):
            seed = _seed(settings, self.night.day)
            incumbent = await parts.evaluate(policy.incumbent, seed)
            parts.tell(f"{policy.incumbent} answered {len(incumbent)} held-out prompts")
            candidate = await parts.evaluate(policy.name, seed)
            parts.tell(f"{policy.name} answered {len(candidate)} held-out prompts")
        with self._in("gate"):
            self.pairs = pair_up(incumbent, candidate)
            self.verdict = await asyncio.to_thread(
                judge,
                self.pairs,
                gate_settings(settings),
                seed=seed,
                kl=folder.kl(),
                history=history_of(self.earlier),
            )
        return await self._follow(policy, self.verdict, settings)

    async def _follow(
        self, policy: Policy, verdict: GateVerdict, settings: RetrainSettings
    ) -> tuple[NightStatus, str]:
        """Refuse, let a share try it, or let it serve."""
        parts, name = self.parts, policy.name
        status: NightStatus = "refused"
        if verdict.promote:
            status = "canary" if settings.canary.share > 0 else "promoted"
        reason = verdict.reasons[0] if verdict.reasons else ""
        # First the report: whoever takes over from here finds the policy's status and this.
        await parts.nights.keep_report(self.night.id, self.report(status, reason))
        try:
            if status == "refused":
                await parts.policies.refuse(name, now=parts.clock())
            elif status == "canary":
                await parts.policies.start_canary(name, now=parts.clock())
            else:
                await parts.policies.activate(name, now=parts.clock(), over_parent=True)
        except RequestError as changed:
            await parts.policies.refuse(name, now=parts.clock())
            return "refused", f"the gate let it pass, and meanwhile {changed.message}"
        return status, reason

    def report(
        self, status: NightStatus, reason: str, *, finished_at: float | None = None
    ) -> dict[str, Any]:
        """What was found so far; of a night that was taken over at its end, what it had found."""
        night = self.night
        about = Night(
            id=night.id,
            policy=night.policy,
            parent=self.parent,
            objective=night.objective,
            status=status,
            reason=reason,
            started_at=night.started_at,
            finished_at=finished_at,
        )
        if not self.seconds and night.report is not None and status != "failed":
            ended = {"status": status, "finished_at": finished_at}
            return {**night.report, "night": {**night.report["night"], **ended}}
        report = night_report(
            about,
            drift=self.drift,
            training=self.training,
            steps=self.steps,
            verdict=self.verdict,
            pairs=self.pairs,
            earlier=self.earlier,
        )
        seconds = {phase: round(took, 3) for phase, took in self.seconds.items()}
        return {**report, "selection": self.selection, "phases": seconds}

    @contextmanager
    def _in(self, phase: str) -> Iterator[None]:
        self.phase, begun = phase, time.monotonic()
        self.parts.tell(phase)
        try:
            yield
        finally:
            self.seconds[phase] = time.monotonic() - begun

    async def _earlier(self) -> list[Mapping[str, Any]]:
        """Reports of former nights of this engine, oldest first."""
        rows = await self.parts.nights.list(self.night.schedule, limit=EARLIER)
        before = [r.report for r in rows if r.day < self.night.day and r.report is not None]
        return before[::-1]


def gate_settings(settings: RetrainSettings) -> GateSettings:
    gate = settings.gate
    return GateSettings(
        primary=gate.primary,
        alpha=gate.alpha,
        min_prompts=gate.min_prompts,
        token_saving=gate.token_saving,
        min_slice=gate.min_slice,
        slice_margin=gate.slice_margin,
        kl_budget=gate.kl_budget,
        ignored_signs=frozenset(gate.ignored_signs),
    )


def _ended_before(policy: Policy) -> tuple[NightStatus, str]:
    """The end of a night whose owner fell after its policy got its status."""
    ends: Mapping[str, NightStatus] = {"canary": "canary", "refused": "refused"}
    return ends.get(policy.status, "promoted"), f"{policy.name} is {policy.status}"


def _settings_of(night: NightRow) -> RetrainSettings:
    try:
        return RetrainSettings.model_validate(dict(night.settings))
    except ValidationError:
        raise ConfigError(f"night {night.id} was begun by another version of verivote") from None


async def _lineage(parts: NightParts, settings: RetrainSettings) -> Lineage:
    known = await parts.policies.list(settings.engine)
    active = next((p for p in known if p.status == "active"), None)
    parent = active.name if active else await parts.base_model()
    return Lineage(
        parent=parent,
        ancestors=frozenset(lineage_of(active, known)),
        tokenizer_digest=await _tokenizer(parts, settings),
        verifiers=dict(parts.verifiers),
    )


async def _tokenizer(parts: NightParts, settings: RetrainSettings) -> str | None:
    """None where this machine cannot train, and a dry run only looks at the log."""
    try:
        base, python = base_folder(settings, parts.engine_model), find_python(settings.python)
    except ConfigError:
        return None
    return await base_tokenizer(base, python)


def _window(settings: RetrainSettings, day: date, now: float) -> Window:
    """The log up to the end of the day, or to now."""
    ends = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC).timestamp()
    until = min(now, ends)
    return Window(since=until - settings.window_days * DAY_S, until=until)


def _seed(settings: RetrainSettings, day: date) -> int:
    """Another one each night, and the same however often that night is begun."""
    return (settings.seed + day.toordinal()) % 2**32
