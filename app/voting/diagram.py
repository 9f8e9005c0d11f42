"""A reliability diagram as SVG, without a plotting library.

Each dot is a bin: its mean confidence across, the share that was right upward, its area the number
of answers; the line through it is where the share may lie. On the diagonal, confidences mean what
they say. Columns at the foot show how many answers each bin holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

from app.voting.reliability import BINS, Bin, Reliability

SIDE = 240
"""Side of the square plot; all lengths are in SVG units."""
LEFT, TOP, RIGHT, FOOT = 62, 12, 24, 74
WIDTH, HEIGHT = LEFT + SIDE + RIGHT, TOP + SIDE + FOOT
COUNTS = 22
"""Height of the tallest column at the foot."""
LARGEST = 9.0
"""Radius of the dot of a bin that holds everything."""
COLUMNS = 3
TITLE = 26

_STYLE = (
    "text{font:12px system-ui,'Segoe UI',Roboto,'Liberation Sans',sans-serif;fill:#5f5b53}"
    ".name{font-size:13px;font-weight:600;fill:#1d1c1a}.paper{fill:#fff}"
    ".grid{stroke:#e5e1d8}.ideal{stroke:#5f5b53;stroke-dasharray:4 4}"
    ".span{stroke:#14664a;stroke-width:2}.dot{fill:#14664a}.count{fill:#b9b2a3}"
    "@media(prefers-color-scheme:dark){text{fill:#aaa59a}.name{fill:#edebe5}.paper{fill:#1e1e1b}"
    ".grid{stroke:#34332e}.ideal{stroke:#aaa59a}.span{stroke:#57b892}.dot{fill:#57b892}"
    ".count{fill:#5d594f}}"
)


def reliability_svg(panels: Mapping[str, Reliability]) -> str:
    """A whole SVG file with one diagram for each name."""
    columns = max(1, min(COLUMNS, len(panels)))
    rows = max(1, math.ceil(len(panels) / columns))
    width, height = columns * WIDTH, rows * (HEIGHT + TITLE)
    drawn = "".join(
        f'<g transform="translate({i % columns * WIDTH} {i // columns * (HEIGHT + TITLE)})">'
        f'<text class="name" x="{LEFT}" y="18">{escape(name)}</text>'
        f'<g transform="translate(0 {TITLE})">{draw(each)}</g></g>'
        for i, (name, each) in enumerate(panels.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}"><style>{_STYLE}</style>'
        f'<rect class="paper" width="{width}" height="{height}"/>{drawn}</svg>\n'
    )


def draw(reliability: Reliability) -> str:
    """The elements of one diagram of `WIDTH` by `HEIGHT`; classes give them their colours."""
    most = max(b.answers for b in reliability.bins)
    return "".join(
        (
            *(_tick(quarter / 4) for quarter in range(5)),
            f'<line class="ideal" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>',
            *(_column(b, most) for b in reliability.bins),
            *(_dot(b, reliability.answers) for b in reliability.bins),
            f'<text x="{_x(0.5)}" y="{HEIGHT - 8}" text-anchor="middle">confidence</text>',
            f'<text transform="translate(12 {_y(0.5)}) rotate(-90)" text-anchor="middle">'
            "share right</text>",
        )
    )


def _tick(at: float) -> str:
    x, y = _x(at), _y(at)
    words = f"{100 * at:.0f} %" if at in (0, 0.5, 1) else ""
    return (
        f'<line class="grid" x1="{_x(0)}" y1="{y}" x2="{_x(1)}" y2="{y}"/>'
        f'<line class="grid" x1="{x}" y1="{_y(0)}" x2="{x}" y2="{_y(1)}"/>'
        + (
            f'<text x="{LEFT - 6}" y="{y + 4:g}" text-anchor="end">{words}</text>'
            f'<text x="{x}" y="{HEIGHT - 24}" text-anchor="middle">{words}</text>'
            if words
            else ""
        )
    )


def _column(each: Bin, most: int) -> str:
    height = max(1.0, COUNTS * each.answers / most)
    foot = _y(0) + 6 + COUNTS
    return (
        f'<rect class="count" x="{_x(each.low) + 1:g}" y="{foot - height:.1f}" '
        f'width="{SIDE / BINS - 2:g}" height="{height:.1f}"/>'
    )


def _dot(each: Bin, answers: int) -> str:
    x, bottom, top = _x(each.confidence), _y(each.share_low), _y(each.share_high)
    radius = max(2.5, LARGEST * math.sqrt(each.answers / answers))
    told = (
        f"{each.answers} answers at {100 * each.confidence:.0f} %: {100 * each.share:.0f} % right, "
        f"between {100 * each.share_low:.0f} and {100 * each.share_high:.0f} %"
    )
    return (
        f"<g><title>{told}</title>"
        f'<line class="span" x1="{x}" y1="{bottom}" x2="{x}" y2="{top}"/>'
        f'<circle class="dot" cx="{x}" cy="{_y(each.share)}" r="{radius:.1f}"/></g>'
    )


def _x(share: float) -> float:
    return round(LEFT + SIDE * share, 1)


def _y(share: float) -> float:
    return round(TOP + SIDE * (1 - share), 1)
