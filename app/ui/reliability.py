"""Whether the confidences of each route meant what they said, as a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from markupsafe import Markup

from app.ui.shown import show_line, show_percent
from app.ui.words import Fact
from app.voting.confidence import MIN_LABELS, Calibration
from app.voting.diagram import HEIGHT, WIDTH, draw
from app.voting.guarantee import threshold
from app.voting.reliability import Believed, Bin, Reliability, reliability_of


@dataclass(frozen=True, slots=True, kw_only=True)
class BinRow:
    """One range of confidence, with what became of its answers."""

    confidence: str
    answers: int
    right: str
    interval: str
    """Where the share of right answers may lie, 95 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteReliability:
    """The confidences of one route and policy."""

    route: str
    policy: str
    sentence: str
    facts: tuple[Fact, ...]
    drawing: Markup | None
    """Elements of the diagram; None before there is anything to draw."""
    bins: tuple[BinRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityPage:
    """Context of `reliability.html`."""

    title: str
    """Title of the browser tab."""
    session: bool
    """True when somebody is logged in by cookie, so that logging out makes sense."""
    needed: int
    """Labels that a route and policy needs before it gets numbers."""
    width: int
    """Of a diagram, in the units of its elements."""
    height: int
    """The same upward."""
    routes: tuple[RouteReliability, ...]
    """Those with the most labels first."""


def reliability_page(
    calibrations: Iterable[Calibration], promises: Mapping[str, float], *, session: bool
) -> ReliabilityPage:
    """`promises`: `max_error` of the routes that set one, by name."""
    ordered = sorted(calibrations, key=lambda each: (-each.labels, each.route, each.policy))
    return ReliabilityPage(
        title="Reliability",
        session=session,
        needed=MIN_LABELS,
        width=WIDTH,
        height=HEIGHT,
        routes=tuple(_route(each, promises.get(each.route)) for each in ordered),
    )


def _route(calibration: Calibration, promise: float | None) -> RouteReliability:
    said = [
        Believed(confidence=outcome.said, right=outcome.right)
        for outcome in calibration.outcomes
        if outcome.said is not None
    ]
    found = reliability_of(said)
    return RouteReliability(
        route=show_line(calibration.route, 80),
        policy=show_line(calibration.policy, 120),
        sentence=_sentence(calibration, found),
        facts=tuple(_facts(calibration, found, promise)),
        # Only numbers and our own words are drawn.
        drawing=Markup(draw(found)) if found else None,
        bins=tuple(_row(each) for each in found.bins) if found else (),
    )


def _sentence(calibration: Calibration, found: Reliability | None) -> str:
    if found:
        points = 100 * found.calibration_error
        answers = "1 labelled answer" if found.answers == 1 else f"{found.answers} labelled answers"
        return f"Over {answers}, what was said and what was so are {points:.1f} points apart."
    if calibration.voted < MIN_LABELS:
        return (
            f"{calibration.voted} of the {MIN_LABELS} labels are there that it takes to say how "
            "sure a vote is."
        )
    return "Votes have a confidence now; none of those that had one is labelled yet."


def _facts(
    calibration: Calibration, found: Reliability | None, promise: float | None
) -> Iterable[Fact]:
    kinds = (
        (calibration.voted, "of votes"),
        (calibration.proven, "of proven answers"),
        (calibration.silent, "of answers without either"),
    )
    yield Fact(
        name="Labels",
        value=str(calibration.labels),
        help=", ".join(f"{count} {kind}" for count, kind in kinds if count),
    )
    if found:
        yield Fact(name="Calibration error", value=f"{found.calibration_error:.3f}")
        yield Fact(
            name="Brier score",
            value=f"{found.brier:.3f}",
            help=f"{found.constant_brier:.3f} without telling answers apart",
        )
    if calibration.proven:
        yield Fact(name="Proofs right", value=f"{calibration.proven_right} of {calibration.proven}")
    if promise is not None:
        least = threshold(calibration, promise)
        yield Fact(
            name="Serves from",
            value=show_percent(least) if least is not None else "–",
            help=f"so that at most {show_percent(promise)} is wrong"
            if least is not None
            else f"no confidence keeps errors under {show_percent(promise)} yet",
        )


def _row(each: Bin) -> BinRow:
    return BinRow(
        confidence=f"{100 * each.low:.0f} to {100 * each.high:.0f} %",
        answers=each.answers,
        right=show_percent(each.share),
        interval=f"{100 * each.share_low:.0f} to {100 * each.share_high:.0f} %",
    )
