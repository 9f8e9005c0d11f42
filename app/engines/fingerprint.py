"""Two fixed texts by which a tokenizer and a chat template are known, wherever they are asked.

A server tells no digest of its files, and files that differ may split texts alike. What matters is
which ids come out, so that is what is hashed: whoever has the tokenizer, a server over HTTP or the
trainer from a folder, gets the same digest. Two tokenizers that agree on the text count as one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

TEXT = (
    "The 3 quick foxes' cost: $12.50 — naïve café, 東京, Привет, مرحبا 🙂\n"
    "\tif x != 10:\n    return [\"a\", 'b']  # 1234567 + 89 = 1234656\r\n"
    "  Antidisestablishmentarianism isn't \\boxed{\\frac{3}{4}}; HTTPServer2 snake_case\n\n\n"
)
"""Of many kinds, so that different vocabularies, splits and normalisations show."""
CHAT: tuple[Mapping[str, str], ...] = (
    {"role": "user", "content": "What is 2 + 2?"},
    {"role": "assistant", "content": "It is 4."},
    {"role": "user", "content": "  And 3 + 3?\n"},
)
"""Without a system message, which some templates refuse and others have one of their own for."""
TEMPLATE_ARGUMENTS: Mapping[str, Any] = {"date_string": "1 January 2000"}
"""For templates that write today's date unless they are told another."""


def digest_ids(ids: Sequence[int]) -> str:
    """Hex sha256 of token ids."""
    return hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()


def is_dated(chat: str, year: int) -> bool:
    """Whether a template wrote today's date into the chat: it is another text every day, and says
    nothing of whether the template is the same."""
    return str(year) in chat
