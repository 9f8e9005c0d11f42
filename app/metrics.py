"""Counters and histograms for operators: a view of each finished group.

Labels are few and small (route, outcome, verifier, reason): never a key, a user or a trace.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from app.group import Group
from app.sample import Call

REGISTRY = CollectorRegistry()

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

_requests = Counter(
    "verivote_requests_total",
    "Groups finished, by route and outcome.",
    ("route", "outcome"),
    registry=REGISTRY,
)
_duration = Histogram(
    "verivote_request_duration_seconds",
    "From the request's arrival to its logged group.",
    ("route",),
    buckets=_SECONDS,
    registry=REGISTRY,
)
_overhead = Histogram(
    "verivote_overhead_seconds",
    "The same without the time that an upstream call was open.",
    buckets=_SECONDS,
    registry=REGISTRY,
)
_router = Counter(
    "verivote_router_plans_total",
    "Plans that the learned score was asked for, by how it stood and the path taken.",
    ("standing", "path"),
    registry=REGISTRY,
)
_samples = Counter(
    "verivote_samples_total",
    "Samples drawn, by what became of them.",
    ("result",),
    registry=REGISTRY,
)
_waste = Counter(
    "verivote_sample_waste_tokens_total",
    "Completion tokens of samples that were not returned.",
    registry=REGISTRY,
)
_verdicts = Counter(
    "verivote_verifier_verdicts_total",
    "Verdicts, by verifier and status.",
    ("verifier", "verdict"),
    registry=REGISTRY,
)
_verify_time = Histogram(
    "verivote_verifier_duration_seconds",
    "Work for one verdict, queueing apart.",
    ("verifier",),
    buckets=_SECONDS,
    registry=REGISTRY,
)
_canaries = Counter(
    "verivote_verifier_canaries_total",
    "Known-bad answers shown to a verifier; one that `passed` puts it out of use.",
    ("verifier", "result"),
    registry=REGISTRY,
)
_doubtful = Counter(
    "verivote_verifier_doubtful_verdicts_total",
    "Verdicts between a verifier's last good canary and the one that it let pass.",
    ("verifier",),
    registry=REGISTRY,
)
_cache = Counter(
    "verivote_cache_events_total",
    "What became of look-ups in the cache, and what went wrong with it, by event.",
    ("event",),
    registry=REGISTRY,
)
_cache_up = Gauge(
    "verivote_cache_up",
    "1 while the cache is asked, 0 while it is bypassed.",
    registry=REGISTRY,
)
_cache_up.set(1)
_degraded = Counter(
    "verivote_degraded_total", "Replies with a part missing, by part.", ("part",), registry=REGISTRY
)

_fallbacks = Counter(
    "verivote_fallbacks_total",
    "Groups whose first stage fell short, by its stop reason and by whose answer was served.",
    ("reason", "served"),
    registry=REGISTRY,
)


def observe(group: Group) -> None:
    """Count one finished group."""
    outcome = group.decision.status if group.error is None and group.decision else "failed"
    _requests.labels(group.plan.route, outcome).inc()
    _duration.labels(group.plan.route).observe(group.finished_ms / 1000)
    _overhead.observe(max(0.0, group.finished_ms - open_ms(group.calls)) / 1000)
    for part in group.degraded:
        _degraded.labels(part).inc()
    if group.cache.hit:
        return
    for reason in group.plan.reasons:
        if reason.feature == "router":
            path = "explored" if group.plan.explored else group.plan.route
            _router.labels(str(reason.value), path).inc()
    _observe_stages(group)
    returned = group.decision.returned if group.decision else ()
    for scored in group.scored:
        sample = scored.sample
        result = "cancelled" if sample.cancelled else (sample.finish_reason or "cut")
        _samples.labels(result).inc()
        if sample.index not in returned:
            _waste.inc(sample.completion_tokens)
        for verdict in scored.verdicts:
            _verdicts.labels(verdict.verifier, verdict.status.value).inc()
            _verify_time.labels(verdict.verifier).observe(verdict.run_ms / 1000)


def observe_cache(event: str) -> None:
    """Count one event of the cache; `opened` and `closed` are those of its circuit breaker."""
    _cache.labels(event).inc()
    if event in ("opened", "closed"):
        _cache_up.set(event == "closed")


def _observe_stages(group: Group) -> None:
    if group.decision is None:
        return
    for stage in group.earlier:
        _fallbacks.labels(stage.decision.stop_reason, "fallback").inc()
    if group.unused is not None:
        _fallbacks.labels(group.decision.stop_reason, "first").inc()


def observe_canary(verifier: str, caught: bool, doubtful: int) -> None:
    """Count one known-bad answer that a verifier was shown."""
    _canaries.labels(verifier, "caught" if caught else "passed").inc()
    if doubtful:
        _doubtful.labels(verifier).inc(doubtful)


def open_ms(calls: tuple[Call, ...]) -> float:
    """Milliseconds during which at least one call was open: overlapping calls count once."""
    total, end = 0.0, 0.0
    for call in sorted(calls, key=lambda call: call.started_ms):
        total += max(0.0, call.finished_ms - max(end, call.started_ms))
        end = max(end, call.finished_ms)
    return total


def render() -> bytes:
    """The Prometheus text form."""
    return generate_latest(REGISTRY)
