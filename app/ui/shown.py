"""Untrusted values as text that is safe and honest to look at.

Model output may hide characters that reorder or conceal text; here they become visible. Long texts
are cut with a count of what is missing. This module does not escape HTML: the templates do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TEXT_CAP = 20_000
"""Characters of one text on a page."""
LINE_CAP = 200
"""Characters of a text that stands inside a line."""

# Bidi controls, zero-width and tag characters, other controls but tab and newline, and lone
# surrogates, which UTF-8 cannot carry. Joiners (U+200C, U+200D) stay: scripts and emoji need them.
_CONCEALED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A text as a page shows it."""

    text: str
    """Concealed characters are written out as ⟨U+202E⟩."""
    cut: int = 0
    """Characters left out at the end; 0 when the text is whole."""


def show(text: str, cap: int = TEXT_CAP) -> Shown:
    """A text of many lines, capped."""
    return Shown(text=reveal(text[:cap]), cut=max(0, len(text) - cap))


def show_line(text: str, cap: int = LINE_CAP) -> str:
    """A text on one line, capped with an ellipsis."""
    line = " ".join(text[: 4 * cap].split())
    return reveal(line if len(line) <= cap else line[: cap - 1] + "…")


def show_json(value: Any, cap: int = TEXT_CAP) -> Shown:
    """A JSON value, indented. Integers keep every digit."""
    return show(json.dumps(_plain(value), indent=2, ensure_ascii=False, default=str), cap)


def reveal(text: str) -> str:
    """The text with concealed characters written out. Doing it twice changes nothing."""
    return _CONCEALED.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text.replace("\r\n", "\n"))


def show_ms(ms: float) -> str:
    """A duration in the unit that reads best: `< 0.1 ms`, `412 ms`, `3.1 s`, `2 min 05 s`."""
    if 0 < ms < 0.05:
        return "< 0.1 ms"
    if ms < 10:
        return f"{ms:.1f} ms"
    if ms < 1_000:
        return f"{ms:.0f} ms"
    if ms < 60_000:
        return f"{ms / 1_000:.1f} s"
    minutes, seconds = divmod(round(ms / 1_000), 60)
    return f"{minutes} min {seconds:02d} s"


def show_seconds(seconds: float) -> str:
    """An age: `42 s`, `12 min`, `5.1 h`, `3.0 d`."""
    for size, unit in ((86_400, "d"), (3_600, "h")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    if seconds < 1:
        return "under 1 s"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def show_number(value: float | None, digits: int = 3) -> str:
    """A score with at most `digits` decimals and no trailing zeros; `–` for None."""
    if value is None:
        return "–"
    shown = f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return "0" if shown == "-0" else shown


def show_percent(share: float) -> str:
    """A share of 0 to 1 with three digits: `5 %`, `97.4 %`, `0.05 %`."""
    return f"{100 * share:.3g} %"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
