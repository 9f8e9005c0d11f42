"""Stop rules against drawing everything: accuracy, samples, rounds, tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from statistics import fmean

from app.replay.play import DEEPEST, shuffled
from app.replay.replay import compare, summarise
from bench.voting.base import (
    MANY_ORDERS,
    Bench,
    Line,
    against_all,
    compared,
    mean_accuracy,
    mean_samples,
    points,
    span,
    tokens_of,
)


def gsm8k(bench: Bench) -> Iterator[Line]:
    group = ("gsm8k", "gpt-4o-mini")
    fixed, ours = bench.get(group, rule="fixed"), bench.get(group)
    yield against_all("GSM8K gpt-4o-mini: margin", [ours], [fixed], loss=0.2, most=4.0, rounds=1.5)
    yield compared("  its weights by length", [bench.get(group, scorer="length")], [fixed])
    for rule in ("adaptive", "esc"):
        yield compared(f"  {rule}", [bench.get(group, rule=rule)], [fixed])
    yield Line(
        "  tokens a question",
        "≤ 540",
        len(ours.played),
        f"{tokens_of(ours):.0f}",
        tokens_of(ours) <= 540,
    )


def medqa(bench: Bench) -> Iterator[Line]:
    group = ("medqa", "gpt-4o-mini")
    fixed, ours = bench.get(group, rule="fixed"), bench.get(group)
    yield against_all("MedQA gpt-4o-mini: margin", [ours], [fixed], loss=0.2, most=4.4)
    for rule in ("adaptive", "esc"):
        yield compared(f"  {rule}", [bench.get(group, rule=rule)], [fixed])
    for name in (group, ("gsm8k", "gpt-4o-mini")):
        sure = summarise(bench.get(name)).reliability
        assert sure is not None
        error = sure.calibration_error
        target = 0.03 if name == group else None
        yield Line(
            f"  calibration error, {name[0]} (half/half)",
            f"ECE ≤ {target}" if target else "",
            len(bench.recordings[name].rows),
            f"ECE {error:.4f}, Brier {sure.brier:.4f} (constant {sure.constant_brier:.4f})",
            error <= target if target else None,
            {"ece": error, "brier": sure.brier, "constant_brier": sure.constant_brier},
        )


def deep(bench: Bench) -> Iterator[Line]:
    """The mean over the deep groups; the limit is what the margin costs drawn one by one."""
    groups = bench.deep_groups()
    for orders in (MANY_ORDERS, bench.plain.orders):
        # `exact` answers what `fixed` does, and is played in half the time.
        rule = "exact" if orders == MANY_ORDERS else "fixed"
        fixed = bench.all(groups, rule=rule, orders=orders)
        margin = bench.all(groups, orders=orders)
        both = bench.all(groups, rule="two_kinds", orders=orders)
        weighed = bench.all(groups, rule="two_kinds", scorer="length", orders=orders)
        for what, ours in (
            ("margin", margin),
            ("two_kinds where both were recorded", both),
            ("  and weights by length", weighed),
        ):
            name = f"{len(groups)} groups of ≥ 20, {orders} orders: {what}"
            yield against_all(
                name, ours, fixed, loss=0.2, most=mean_samples(margin), most_is="margin's"
            )
    for rule in ("adaptive", "esc", "certified"):
        yield compared(f"  {rule}", bench.all(groups, rule=rule), fixed)
    for margin_ in (2, 4):
        yield compared(f"  margin of {margin_}", bench.all(groups, margin=margin_), fixed)


def weak_spots(bench: Bench) -> Iterator[Line]:
    """Where the margin of three loses most."""
    for group, loss in (
        (("gsm8k", "qwen2.5-1.5b-instruct(T0.5/0.7/1.0)"), 0.5),
        (("aime24", "o3-mini-low"), 1.0),
    ):
        for orders in (bench.plain.orders, MANY_ORDERS):
            fixed = bench.get(group, rule="fixed", orders=orders)
            adaptive = bench.get(group, rule="adaptive", orders=orders)
            most = 0.8 * mean_samples([adaptive])
            name = f"{group[0]} {group[1].split('(')[0]}, {orders} orders: margin"
            yield against_all(
                name,
                [bench.get(group, orders=orders)],
                [fixed],
                loss=loss,
                most=most,
                most_is="80 % of adaptive's",
            )
            yield compared("  margin of 4", [bench.get(group, orders=orders, margin=4)], [fixed])
            yield compared("  adaptive", [adaptive], [fixed])


def public_numbers(bench: Bench) -> Iterator[Line]:
    """Two more claims of other people's replays."""
    group = ("last_letters", "gpt-3.5-turbo(T0.7)")
    fixed, ours = bench.get(group, rule="fixed"), bench.get(group)
    yield against_all(
        "Last Letters gpt-3.5-turbo: margin (ESC saves 67.4 %)", [ours], [fixed], loss=0.2, most=4.0
    )
    group = ("gpqa_diamond", "o3-mini-low")
    fixed, ours = bench.get(group, rule="fixed"), bench.get(group)
    yield against_all("GPQA o3-mini-low: margin (mSPRT: 5.12)", [ours], [fixed], loss=0.2, most=5.1)


def checker(bench: Bench) -> Iterator[Line]:
    """A decisive verifier in the loop: as good and as cheap as stopping at the first right one."""
    for group in bench.recordings:
        if group[0] != "game24":
            continue
        ours = bench.get(group)
        solved, needed = [], []
        for row in ours.recording.rows:
            for order in range(ours.setting.orders):
                drawn = shuffled(row, ours.setting, order)[0][:DEEPEST]
                first = next((i for i, s in enumerate(drawn, 1) if s.correct), None)
                solved.append(first is not None)
                needed.append(first or len(drawn))
        right, samples = mean_accuracy([ours]), mean_samples([ours])
        cancelled = fmean(p.cancelled for orders in ours.played for p in orders)
        yield Line(
            f"Game of 24 {group[1]}: exact checker",
            f"= pass@cap {100 * fmean(solved):.2f} at the oracle's {fmean(needed):.2f} samples",
            len(ours.played),
            f"{100 * right:.2f} at {samples:.2f} samples (and {cancelled:.2f} cancelled in flight)",
            abs(right - fmean(solved)) < 1e-9 and abs(samples - fmean(needed)) < 1e-9,
            {"accuracy": right, "samples": samples, "cancelled": cancelled},
        )


def kinds(bench: Bench) -> Iterator[Line]:
    """A text and a program, on the six sets of the mixture of thoughts."""
    groups = [name for name in bench.recordings if name[1] == "gpt-4(MoT 4x3)"]
    fixed = bench.all(groups, rule="fixed")
    margin = bench.all(groups)
    ours = bench.all(groups, rule="two_kinds")
    yield replace(
        against_all("six GPT-4 sets: two_kinds", ours, fixed, loss=0.3, most=mean_samples(margin)),
        target="SC@12 ± 0.3 at fewer samples than margin",
    )
    yield compared("  margin", margin, fixed)
    more = compare(ours, margin)
    yield Line(
        "  two_kinds minus margin",
        "",
        sum(len(r.played) for r in ours),
        f"{points(more)}, {span(more.samples, 1, '+')} samples",
        None,
        {"difference": asdict(more)},
    )
    pairs = fmean(fmean(p.samples == 2 for orders in each.played for p in orders) for each in ours)
    yield Line(
        "  questions done with two samples",
        "> 78.6 %",
        sum(len(r.played) for r in ours),
        f"{100 * pairs:.1f} %",
        pairs > 0.786,
        {"share": pairs},
    )
    for group, two, all_ in zip(groups, ours, fixed, strict=True):
        yield compared(f"  {group[0]}", [two], [all_])


def modes(bench: Bench) -> Iterator[Line]:
    """`exact` gives the very answer of the whole budget; `certified` says "most frequent"."""
    groups = bench.deep_groups()
    fixed, exact = bench.all(groups, rule="fixed"), bench.all(groups, rule="exact")
    certified, margin = bench.all(groups, rule="certified"), bench.all(groups)
    same = all(a.accuracy == b.accuracy for a, b in zip(exact, fixed, strict=True))
    share = mean_samples(exact) / mean_samples(fixed)
    yield Line(
        "exact: same answers as all samples",
        "same, at 57–85 % of the samples",
        sum(len(r.played) for r in exact),
        f"{'the same' if same else 'DIFFERENT'}, at {100 * share:.0f} %",
        same and share <= 0.85,
    )
    times = mean_samples(certified) / mean_samples(margin)
    yield Line(
        "certified: cost against margin",
        "about 3 ×",
        sum(len(r.played) for r in exact),
        f"{times:.2f} ×",
        None,
        {"times": times},
    )


def tokens(bench: Bench) -> Iterator[Line]:
    for group in bench.recordings:
        if summarise(bench.get(group)).tokens is None:
            continue
        found = {
            rule: tokens_of(bench.get(group, rule=rule))
            for rule in ("fixed", "adaptive", "esc", "margin")
        }
        yield Line(
            f"tokens, {group[0]} {group[1]}",
            "",
            len(bench.get(group).played),
            " → ".join(f"{rule} {value:,.0f}" for rule, value in found.items()),
            None,
            found,
        )
