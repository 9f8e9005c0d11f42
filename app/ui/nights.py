"""The list of nights and of the policies that they made, as a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from app.store.nights import NightRow
from app.store.policies import Policy
from app.ui.night import ENDS
from app.ui.shown import show_line, show_percent, show_seconds
from app.ui.words import Badge

_POLICIES = {
    "candidate": ("held", "Being judged"),
    "canary": ("held", "Serves a share"),
    "active": ("verified", "Serves"),
    "retired": ("unverified", "Served before"),
    "refused": ("failed", "Refused"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NightLine:
    """One night in the list."""

    day: str
    href: str
    """Its report; empty while there is none."""
    policy: str
    objective: str
    status: Badge
    reason: str
    better: str
    """The primary metric before and after; empty when nothing was compared."""
    took: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyLine:
    """One policy in the list."""

    name: str
    engine: str
    parent: str
    status: Badge
    since: str
    """When it became that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NightsPage:
    """Context of `nights.html`."""

    title: str
    """Title of the browser tab."""
    session: bool
    """True when somebody is logged in by cookie, so that logging out makes sense."""
    schedule: str
    """When the next night begins, in words."""
    serving: tuple[str, ...]
    """Who serves on each engine, in words."""
    nights: tuple[NightLine, ...]
    """Newest first."""
    policies: tuple[PolicyLine, ...]
    """Newest first."""


def nights_page(
    nights: Sequence[NightRow],
    policies: Sequence[Policy],
    *,
    next_at: datetime | None,
    share: float,
    now: float,
    session: bool,
) -> NightsPage:
    """Pure. `share` of the requests try a canary."""
    return NightsPage(
        title="Nights",
        session=session,
        schedule=_schedule(next_at),
        serving=tuple(_serving(policies, share)),
        nights=tuple(_night(night, now) for night in nights),
        policies=tuple(_policy(policy) for policy in policies),
    )


def _schedule(next_at: datetime | None) -> str:
    if next_at is None:
        return "Nights begin when they are asked for: retrain.schedule is off."
    return f"The next night begins on {next_at:%Y-%m-%d at %H:%M} UTC."


def _serving(policies: Sequence[Policy], share: float) -> list[str]:
    said = []
    for engine in sorted({policy.engine for policy in policies}):
        serving = {p.status: p.name for p in policies if p.engine == engine}
        line = f"{serving.get('active', 'The base model')} serves on {engine}"
        if canary := serving.get("canary"):
            line += f"; {canary} tries {show_percent(share)} of the requests"
        said.append(show_line(f"{line}.", 200))
    return said


def _night(night: NightRow, now: float) -> NightLine:
    kind, word = ENDS[night.status]
    running = night.status == "running"
    if running:
        word = f"Running: {night.phase}" if night.is_alive(now) else "Interrupted"
    report = night.report
    return NightLine(
        day=night.day.isoformat(),
        href=f"/nights/{night.id}" if report and not running else "",
        policy=show_line(night.policy, 80),
        objective=show_line(night.objective, 40),
        status=Badge(kind=kind, word=word),
        reason=show_line(report["night"]["reason"], 200) if report and not running else "",
        better=_better(night),
        took=show_seconds((night.finished_at or now) - night.started_at),
    )


def _better(night: NightRow) -> str:
    gate = night.report and night.report["gate"]
    main = gate and gate["metrics"].get(gate["settings"]["primary"])
    if not main:
        return ""
    return f"{show_percent(main['incumbent'])} → {show_percent(main['candidate'])}"


def _policy(policy: Policy) -> PolicyLine:
    kind, word = _POLICIES[policy.status]
    since = datetime.fromtimestamp(policy.changed_at or policy.created_at, UTC)
    return PolicyLine(
        name=show_line(policy.name, 80),
        engine=show_line(policy.engine, 80),
        parent=show_line(policy.incumbent, 80),
        status=Badge(kind=kind, word=word),
        since=f"{since:%Y-%m-%d %H:%M}",
    )
