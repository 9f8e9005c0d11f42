"""What people said about an answer, and the form in which they say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from app.store.base import Label
from app.ui.shown import show_line


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """One label as somebody gave it."""

    kind: str
    at: str
    author: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPanel:
    """Context of `labels.html`, the part that is swapped after a label was given."""

    action: str
    """Where the form posts to."""
    token: str
    """Proof that the form came from this page."""
    rows: tuple[LabelRow, ...]
    """Oldest first."""
    message: str
    """What just happened, read out by screen readers; empty on a fresh page."""


def label_panel(
    trace_id: str, labels: Sequence[Label], *, token: str, message: str = ""
) -> LabelPanel:
    """The label form with what was said so far, oldest first."""
    return LabelPanel(
        action=f"/traces/{trace_id}/label",
        token=token,
        rows=tuple(
            LabelRow(
                kind=label.kind,
                at=f"{datetime.fromtimestamp(label.created_at, UTC):%d %b %Y, %H:%M} UTC",
                author=show_line(label.author, 60),
                note=" ".join(
                    filter(None, (show_line(label.note or "", 2_000), _correction(label)))
                ),
            )
            for label in labels
        ),
        message=message,
    )


def _correction(label: Label) -> str:
    return f"Right would be: {show_line(label.correction, 500)}" if label.correction else ""
