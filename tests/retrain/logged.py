"""Groups as the night reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from app.sample import Scored
from app.store.base import Label
from app.store.sides import Side
from app.store.training_log import LoggedGroup
from tests.store.groups import START, make_group, trace_id_at


def logged(
    number: int = 0,
    *,
    answers: Sequence[str] = ("42", "42", "41", "40"),
    prompt: str | None = None,
    tenant: str = "local",
    policy: str = "policy-3",
    split: str = "train",
    labels: Sequence[Label] = (),
    change: dict[str, Any] | None = None,
    **changes: Any,
) -> LoggedGroup:
    """A group of four trainable samples, two of them right. `change` is made to every sample."""
    said = prompt if prompt is not None else f"question {number}"
    group = make_group(
        START + number,
        answers=answers,
        task={
            "tenant": tenant,
            "messages": ({"role": "user", "content": said},),
            "trace_id": trace_id_at(START + number, number),
        },
        plan={"policy": policy},
        **changes,
    )
    if change:
        changed = tuple(with_sample(scored, **change) for scored in group.scored)
        group = replace(group, scored=changed)
    side = Side(f"{number:064x}", split)  # type: ignore[arg-type]
    return LoggedGroup(group=group, side=side, labels=tuple(labels))


def with_sample(scored: Scored, **change: Any) -> Scored:
    return replace(scored, sample=replace(scored.sample, **change))


def label(kind: str, *, author: str = "someone", sample: int | None = None) -> Label:
    return Label(
        id="1",
        trace_id="t",
        kind=kind,
        created_at=START,
        author=author,
        sample=sample,  # type: ignore[arg-type]
    )
