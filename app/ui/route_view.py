"""Why a request took its route: the difficulty, what raised or lowered it, and the plan."""

from __future__ import annotations

from dataclasses import dataclass

from app.group import Group
from app.plan import Plan
from app.ui.shown import show_line, show_ms, show_number
from app.ui.words import ROUTES, Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonRow:
    feature: str
    value: str
    contribution: str
    """What it added to the score, with its sign."""
    x: float
    """Start of its bar in percent; the middle is zero."""
    width: float
    raises: bool
    """True when it made the task look harder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteView:
    """Why this route, and the plan that followed."""

    route: str
    sentence: str
    difficulty: str
    threshold: str
    difficulty_pct: float
    threshold_pct: float
    reasons: tuple[ReasonRow, ...]
    """Features, the weightiest first."""
    plan: tuple[Fact, ...]


_FEATURES = {"bias": "starting point"}


def route_view(group: Group) -> RouteView:
    """Of the plan that was made first: a fallback's differs in the model only."""
    plan = group.earlier[0].plan if group.earlier else group.plan
    reasons = sorted(plan.reasons, key=lambda reason: -abs(reason.contribution))
    most = max((abs(reason.contribution) for reason in reasons), default=0.0) or 1.0
    return RouteView(
        route=plan.route,
        sentence=ROUTES[plan.route],
        difficulty=f"{plan.difficulty:.2f}",
        threshold=f"{plan.threshold:.2f}",
        difficulty_pct=_percent(plan.difficulty),
        threshold_pct=_percent(plan.threshold),
        reasons=tuple(
            ReasonRow(
                feature=_FEATURES.get(
                    reason.feature, show_line(reason.feature.replace("_", " "), 60)
                ),
                value=_value(reason.value),
                contribution=f"{reason.contribution:+.2f}".replace("-", "−"),
                x=round(50 + min(0.0, 50 * reason.contribution / most), 2),
                width=round(abs(50 * reason.contribution / most), 2),
                raises=reason.contribution >= 0,
            )
            for reason in reasons
        ),
        plan=(
            Fact(name="Route", value=show_line(plan.route_name, 64)),
            Fact(name="Stop rule", value=plan.rule.replace("_", " ")),
            Fact(name="First round", value=str(plan.first_round)),
            Fact(name="Cap", value=str(plan.cap)),
            Fact(name="Margin", value=str(plan.margin)),
            Fact(name="Temperature", value=show_number(plan.temperature, 2)),
            Fact(name="Policy", value=show_line(plan.policy, 120) or "–"),
            Fact(name="Engine", value=show_line(plan.engine, 60)),
            Fact(name="Deadline", value=show_ms(plan.deadline_ms)),
            *_asked_by_route(plan),
        ),
    )


def _asked_by_route(plan: Plan) -> tuple[Fact, ...]:
    """What only a configured route can ask for, where it does."""
    facts = []
    if plan.max_error is not None:
        facts.append(Fact(name="Wrong at most", value=f"{100 * plan.max_error:g} %"))
    if plan.fallback:
        facts.append(Fact(name="Fallback", value=show_line(plan.fallback, 60)))
    if plan.reuse == "near":
        facts.append(Fact(name="Reuse", value="near, checked anew"))
    return tuple(facts)


def _percent(share: float) -> float:
    return round(100 * min(1.0, max(0.0, share)), 2)


def _value(value: float | str | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return show_line(value, 60) if isinstance(value, str) else show_number(value)
