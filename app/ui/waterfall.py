"""Where the time of a request went: one row a step, with queueing shown apart from work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.group import Group, Span
from app.sample import Call, Sample
from app.ui.shown import show_line, show_ms

SegmentKind = Literal["step", "wait", "first", "draw", "verify"]
Part = tuple[SegmentKind, float, float]
"""Kind, start and end in milliseconds."""

_NAMES = {
    "cache": "Look in the cache",
    "plan": "Choose the route",
    "decide": "Count and decide",
    "fallback": "Ask the fallback",
}
_RUN = "run_program"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One stretch of a bar, in percent of the whole request."""

    kind: SegmentKind
    """`wait` is queueing; `first` is the time to the first token; the rest is work."""
    x: float
    width: float
    """At least a sliver, so that a short step can still be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One row of the waterfall."""

    name: str
    detail: str
    """Parts of the step with their times; empty when it has none."""
    starts: str
    queued: str
    """Time spent waiting for a place; `–` when there was none."""
    took: str
    """Time of work, without the queueing."""
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waterfall:
    steps: tuple[Step, ...]
    """In the order they began."""
    ticks: tuple[str, ...]
    """Five times, evenly spaced from the start to the end."""
    total: str
    """Time of the whole request."""


def waterfall(group: Group) -> Waterfall:
    """Rows for the gateway's own steps, failed calls, and each sample with its verifiers."""
    end = max(
        [group.finished_ms, 0.001]
        + [span.end_ms for span in group.spans]
        + [scored.sample.finished_ms for scored in group.scored if not group.cache.hit]
    )
    timed = [
        (span.start_ms, _plain_step(span, end))
        for span in group.spans
        if span.sample is None and span.name != "sample"
    ]
    timed += [(call.started_ms, _failed_call(call, end)) for call in group.calls if call.error]
    # A cached answer carries the sample it came from, whose times belong to another request.
    drawn = () if group.cache.hit else group.scored
    for scored in drawn:
        judged = tuple(
            span
            for span in group.spans
            if span.sample == scored.sample.index and span.name.startswith(("verify:", _RUN))
        )
        timed.append((scored.sample.started_ms, _sample_step(scored.sample, judged, end)))
    return Waterfall(
        steps=tuple(step for _, step in sorted(timed, key=lambda item: item[0])),
        ticks=tuple(show_ms(end * quarter / 4) if quarter else "0" for quarter in range(5)),
        total=show_ms(group.finished_ms),
    )


def _plain_step(span: Span, end: float) -> Step:
    work = span.start_ms + span.wait_ms
    return Step(
        name=_NAMES.get(span.name, show_line(span.name, 60)),
        detail="",
        starts=show_ms(span.start_ms),
        queued=show_ms(span.wait_ms) if span.wait_ms else "–",
        took=show_ms(span.end_ms - work),
        segments=_segments(end, ("wait", span.start_ms, work), ("step", work, span.end_ms)),
    )


def _failed_call(call: Call, end: float) -> Step:
    """Calls that ended well are seen in their samples."""
    tries = "1 attempt" if call.attempts == 1 else f"{call.attempts} attempts"
    return Step(
        name=f"Call to {show_line(call.engine, 60)}",
        detail=f"failed after {tries}: {show_line(call.error, 80)}",
        starts=show_ms(call.started_ms),
        queued="–",
        took=show_ms(call.finished_ms - call.started_ms),
        segments=_segments(end, ("draw", call.started_ms, call.finished_ms)),
    )


def _sample_step(sample: Sample, judged: tuple[Span, ...], end: float) -> Step:
    first = sample.first_token_ms
    split = sample.started_ms if first is None else first
    parts: list[Part] = [("first", sample.started_ms, split), ("draw", split, sample.finished_ms)]
    words = [] if first is None else [f"first token after {show_ms(first - sample.started_ms)}"]
    for span in judged:
        work = span.start_ms + span.wait_ms
        parts += [("wait", span.start_ms, work), ("verify", work, span.end_ms)]
        own = "run the program" if span.name == _RUN else span.name.removeprefix("verify:")
        name = show_line(own, 60)
        words.append(f"{name} {show_ms(span.end_ms - work)}")
    queued = sum(span.wait_ms for span in judged)
    return Step(
        name=f"Candidate {sample.index + 1}",
        detail=", ".join(words),
        starts=show_ms(sample.started_ms),
        queued=show_ms(queued) if queued else "–",
        took=show_ms(sample.finished_ms - sample.started_ms),
        segments=_segments(end, *parts),
    )


def _segments(end: float, *parts: Part) -> tuple[Segment, ...]:
    return tuple(
        Segment(
            kind=kind,
            x=round(min(100 * start / end, 99.7), 2),
            width=round(max(100 * (stop - start) / end, 0.3), 2),
        )
        for kind, start, stop in parts
        if stop > start
    )
