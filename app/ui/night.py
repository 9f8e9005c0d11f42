"""The report of a night as a page: what was trained on, whether it was better, and why it serves.

It reads the JSON of `app/retrain/report.py` and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from app.ui.drift import DriftView, drift_view
from app.ui.plots import Axis, Curve, Span, axis_around, curve, span
from app.ui.render import STATIC, environment
from app.ui.shown import show_line, show_number, show_percent, show_seconds
from app.ui.words import BADGES, Badge, Fact
from app.voting.diagram import HEIGHT, WIDTH, draw
from app.voting.reliability import Bin, Reliability

Json = Mapping[str, Any]

ENDS: Mapping[str, tuple[str, str]] = {
    "running": ("held", "Running"),
    "skipped": ("unverified", "Skipped"),
    "stopped": ("failed", "Stopped"),
    "refused": ("failed", "Refused"),
    "canary": ("held", "Serving a share"),
    "promoted": ("verified", "Promoted"),
    "rolled_back": ("failed", "Rolled back"),
    "failed": ("failed", "Failed"),
}
"""Status → badge and word."""

METRICS: Mapping[str, tuple[str, str]] = {
    "pass_at_1": ("One sample", "mean reward of a sample at the serving temperature"),
    "vote": ("Vote", "most frequent answer right"),
    "verified": ("Verified", "some sample proven right"),
    "greedy": ("Greedy", "sample at temperature 0 right"),
    "hidden": ("Hidden verifiers", "mean score by verifiers that were not trained on"),
}

CONDITIONS = {
    "enough": "Enough prompts",
    "better": "Better, or as good and cheaper",
    "slices": "No slice lost",
    "hidden": "Hidden verifiers agree",
    "degeneration": "Texts are healthy",
    "kl": "Near the incumbent",
}

CURVES = (
    ("reward", "Reward", "as logged: what each step saw, not how good the policy is"),
    ("kl", "KL", "nats a token, from what served to what is trained"),
    ("ess", "Effective samples", "share of worse samples that still count"),
    ("entropy", "Entropy", "nats a token"),
    ("grad_norm", "Gradient", "norm before clipping"),
)

POINT_STEP = 5.0
"""Ends of the axis of changes are multiples of this many points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRow:
    """A metric or a slice, before and after."""

    name: str
    help: str
    prompts: str
    before: str
    after: str
    change: str
    interval: str
    """95 %, in points."""
    p: str
    """One-sided; empty for slices."""
    span: Span
    faint: bool
    """True when it decides nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionRow:
    """One condition of the gate."""

    name: str
    state: Badge
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignRow:
    """One sign of degeneration."""

    name: str
    before: str
    after: str
    alarm: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CountRow:
    """How many were left out for one reason."""

    reason: str
    count: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagram:
    """Confidences of one policy against the truth."""

    name: str
    sentence: str
    drawing: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class NightPage:
    """Context of `night.html`."""

    title: str
    """Title of the browser tab."""
    session: bool
    """True when somebody is logged in by cookie, so that logging out makes sense."""
    policy: str
    """What the night made."""
    parent: str
    """What it was compared with."""
    when: str
    """Day and time in UTC, and how long it took."""
    status: Badge
    """How it ended."""
    reasons: tuple[str, ...]
    """Why it ended so."""
    facts: tuple[Fact, ...]
    """The numbers that matter most."""
    metrics: tuple[ChangeRow, ...]
    """Each metric, before and after; empty when nothing was compared."""
    slices: tuple[ChangeRow, ...]
    """The primary metric in each slice."""
    axis: tuple[str, str, float]
    """Left and right end of the plots, and the place of no change in percent."""
    conditions: tuple[ConditionRow, ...]
    """What the gate asked for."""
    signs: tuple[SignRow, ...]
    """Signs of degeneration, alarms first."""
    nights: Curve | None
    """The candidates of all nights; filled dots were promoted. None for a first night."""
    curves: tuple[Curve, ...]
    """The training, step by step."""
    training: str
    """How the training ended; empty when it was not reached."""
    diagrams: tuple[Diagram, ...]
    """Reliability before and after."""
    width: int
    """Of a reliability diagram, in the units of its elements."""
    height: int
    """The same upward."""
    canary: str
    """How the share of the traffic went; empty when there was none."""
    drift: DriftView | None
    """The traffic that was trained on against that of before; None where nobody looked."""
    left_out: tuple[CountRow, ...]
    """Groups that were not trained on, by reason."""
    samples_left_out: tuple[CountRow, ...]
    """Samples of groups that were looked into, by reason."""


def night_page(
    report: Json, *, why: Mapping[str, str] | None = None, session: bool = False
) -> NightPage:
    """`why`: what each reason for leaving something out means."""
    night, gate, training = report["night"], report["gate"], report["training"]
    selection = report["selection"] or {}
    axis = _axis(gate)
    kind, word = ENDS[night["status"]]
    return NightPage(
        title=f"Night {show_line(night['id'], 60)}",
        session=session,
        policy=show_line(night["policy"], 80),
        parent=show_line(night["parent"], 80),
        when=_when(night),
        status=Badge(kind=kind, word=word),
        reasons=_reasons(report),
        facts=tuple(_facts(report)),
        metrics=tuple(_metric_rows(gate, axis)) if gate else (),
        slices=tuple(_slice_rows(gate, axis)) if gate else (),
        axis=(_points(axis.least), _points(axis.most), axis.place(0.0)),
        conditions=tuple(_condition(check) for check in gate["checks"]) if gate else (),
        signs=_signs(gate) if gate else (),
        nights=_nights(report),
        curves=tuple(_curves(training["curve"])) if training else (),
        training=_training(training) if training else "",
        diagrams=tuple(_diagrams(report)),
        width=WIDTH,
        height=HEIGHT,
        canary=show_line(report["canary"]["explained"], 400) if report["canary"] else "",
        drift=drift_view(moving) if (moving := report.get("drift")) else None,
        left_out=_counts(selection.get("left_out", {}), why or {}),
        samples_left_out=_counts(selection.get("samples_left_out", {}), why or {}),
    )


def report_html(report: Json, *, why: Mapping[str, str] | None = None) -> str:
    """The page as one file that needs no server: for reading, sending and keeping."""
    page = environment().get_template("night.html").render(page=night_page(report, why=why))
    body = page[page.index("<main") : page.index("</main>") + len("</main>")]
    css = (STATIC / "verivote.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{Markup.escape(show_line(report['night']['id'], 60))} · Verivote</title>\n"
        f"<style>\n{css}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _when(night: Json) -> str:
    started = datetime.fromtimestamp(night["started_at"], UTC)
    took = night["finished_at"] and show_seconds(night["finished_at"] - night["started_at"])
    return f"{started:%Y-%m-%d %H:%M} UTC" + (f", took {took}" if took else "")


def _reasons(report: Json) -> tuple[str, ...]:
    gate = report["gate"]
    said = [report["night"]["reason"], *(gate["reasons"] if gate else ())]
    return tuple(dict.fromkeys(show_line(line, 600) for line in said if line))


def _facts(report: Json) -> Iterable[Fact]:
    gate, selection, training = report["gate"], report["selection"], report["training"]
    if gate and (main := gate["metrics"].get(gate["settings"]["primary"])):
        name = METRICS[gate["settings"]["primary"]][0]
        yield Fact(
            name=name,
            value=f"{show_percent(main['incumbent'])} → {show_percent(main['candidate'])}",
            help=f"{_points(100 * main['delta'])} points on {main['prompts']:,} held-out prompts",
        )
    if gate and (tokens := gate["metrics"].get("tokens")):
        yield Fact(
            name="Tokens a sample",
            value=f"{tokens['incumbent']:.0f} → {tokens['candidate']:.0f}",
        )
    if selection:
        yield Fact(
            name="Groups",
            value=f"{selection['groups']:,}",
            help=f"of {selection['seen']:,} in the log, {selection['tokens']:,} tokens",
        )
    if training and training.get("steps") is not None:
        seconds = (training.get("metrics") or {}).get("seconds")
        yield Fact(
            name="Steps",
            value=f"{training['steps']:,}",
            help=f"in {show_seconds(seconds)}" if seconds else "",
        )
    if phases := report.get("phases"):
        took = ", ".join(f"{phase} {show_seconds(seconds)}" for phase, seconds in phases.items())
        yield Fact(name="Wall time", value=show_seconds(sum(phases.values())), help=took)
    if (moving := report.get("drift")) and moving["moved"]:
        yield Fact(
            name="Drift",
            value=f"{len(moving['drifted'])} of {len(moving['moved'])}",
            help="properties of the traffic that have moved",
        )
    yield Fact(name="Objective", value=show_line(report["night"]["objective"], 40))


def _axis(gate: Json | None) -> Axis:
    """Of all changes in points, metrics and slices alike."""
    if not gate:
        return Axis(least=-POINT_STEP, most=POINT_STEP)
    rows = [m for name, m in gate["metrics"].items() if name in METRICS] + list(gate["slices"])
    ends = [100 * row[end] for row in rows for end in ("low", "high")]
    return axis_around(ends or [-POINT_STEP, POINT_STEP], step=POINT_STEP)


def _metric_rows(gate: Json, axis: Axis) -> Iterable[ChangeRow]:
    for key, (name, help) in METRICS.items():
        if found := gate["metrics"].get(key):
            yield _change(name, help, found, axis, p=_p(found["p_better"]), faint=False)


def _slice_rows(gate: Json, axis: Axis) -> Iterable[ChangeRow]:
    for each in gate["slices"]:
        help = "" if each["decides"] else "too few prompts to decide"
        name = f"{show_line(each['dimension'], 40)}: {show_line(each['value'], 60)}"
        yield _change(name, help, each, axis, p="", faint=not each["decides"])


def _change(name: str, help: str, row: Json, axis: Axis, *, p: str, faint: bool) -> ChangeRow:
    low, high, delta = (100 * row[key] for key in ("low", "high", "delta"))
    return ChangeRow(
        name=name,
        help=help,
        prompts=f"{row['prompts']:,}",
        before=show_percent(row["incumbent"]),
        after=show_percent(row["candidate"]),
        change=_points(delta),
        interval=f"{_points(low)} to {_points(high)}",
        p=p,
        span=span(axis, low, high, delta),
        faint=faint,
    )


def _condition(check: Json) -> ConditionRow:
    kind = {True: "pass", False: "fail", None: "abstain"}[check["passed"]]
    word = {True: "Holds", False: "Fails", None: "Not decided"}[check["passed"]]
    return ConditionRow(
        name=CONDITIONS[check["name"]],
        state=Badge(kind=BADGES[kind].kind, word=word),
        reason=show_line(check["reason"], 600),
    )


def _signs(gate: Json) -> tuple[SignRow, ...]:
    rows = sorted(gate["signs"], key=lambda sign: not sign["alarm"])
    return tuple(
        SignRow(
            name=show_line(f"{sign['says']} ({sign['sign']})", 120),
            before=show_number(sign["incumbent"]),
            after=show_number(sign["candidate"]),
            alarm=show_line(sign["alarm"], 120),
        )
        for sign in rows
    )


def _nights(report: Json) -> Curve | None:
    """Earlier candidates and this one, where each was measured by the same metric."""
    gate = report["gate"]
    main = gate and gate["metrics"].get(gate["settings"]["primary"])
    if not main:
        return None
    metric = gate["settings"]["primary"]
    before = [point for point in report["earlier"] if point["metric"] == metric]
    if not before:
        return None
    values = [100 * point["candidate"] for point in before] + [100 * main["candidate"]]
    filled = [point["promoted"] for point in before] + [gate["promote"]]
    help = f"{METRICS[metric][1]}, percent; filled dots were promoted"
    return curve(f"{METRICS[metric][0]} night by night", values, help=help, filled=filled)


def _curves(steps: Iterable[Json]) -> Iterable[Curve]:
    rows = list(steps)
    for key, name, help in CURVES:
        values = [row[key] for row in rows if row.get(key) is not None]
        if len(values) > 1:
            yield curve(name, values, help=help)


def _training(training: Json) -> str:
    if reason := training.get("reason"):
        return show_line(f"{training.get('outcome', 'stopped')}: {reason}", 400)
    return show_line(str(training.get("outcome", "")), 40)


def _diagrams(report: Json) -> Iterable[Diagram]:
    for key, name in (("incumbent", "Before"), ("candidate", "After")):
        found = report["reliability"][key]
        if found is None:
            continue
        reliability = Reliability(
            bins=tuple(Bin(**each) for each in found["bins"]),
            answers=found["answers"],
            right=found["right"],
            brier=found["brier"],
        )
        yield Diagram(
            name=name,
            sentence=(
                f"{found['answers']:,} answers, calibration error "
                f"{show_number(reliability.calibration_error)}, Brier {show_number(found['brier'])}"
            ),
            # Only numbers and our own words are drawn.
            drawing=Markup(draw(reliability)),
        )


def _counts(counts: Json, why: Mapping[str, str]) -> tuple[CountRow, ...]:
    return tuple(
        CountRow(reason=show_line(why.get(reason, reason), 120), count=f"{count:,}")
        for reason, count in counts.items()
    )


def _points(value: float) -> str:
    return f"{value:+.1f}" if round(value, 1) else "0"


def _p(p: float | None) -> str:
    if p is None:
        return ""
    return f"{p:.2g}" if p >= 1e-4 else "< 0.0001"
