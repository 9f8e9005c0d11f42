"""Features of a task that say whether several samples are worth their price.

Counts on the text, what kind of answer is wanted and who can check it, who asks, and the words
themselves, as hashed runs of one and two. All of it is cheap and none of it understands the prompt:
a short factual question that a model gets confidently wrong looks like any other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from zlib import crc32

from verifiers.base import AnswerContract, AnswerKind

READ_CHARS = 3_000
"""Only this much of a prompt is read, half from its beginning and half from its end: what is asked
stands at one of the two, and the edge must stay cheap."""
GRAM_BITS = 18
"""Runs of words share 2^18 places; two that meet in one are taken for the same."""
MOST_WORDS = 320
"""Of more words, half from the beginning and half from the end are looked at in runs."""
SYSTEM_BUCKETS = 256

_TOKEN = re.compile(r"[^\W\d_]+|\d[\d,.]*|\\[a-z]+|\S")
_OPERATOR = re.compile(r"(?<=[\d)\s])[-+*/×÷^=](?=[\s\d(])")
_SMALL_TALK = re.compile(
    r"^\W*(hi|hello|hey|hiya|yo|good (morning|afternoon|evening|night)|thanks?|thank you( so much)?"
    r"|ok(ay)?|great|cool|nice|bye|goodbye|see you|how are you( doing)?( today)?|what'?s up|welcome"
    r"|who are you|ping|test)\b[\w\s,'!.?]{0,40}$",
    re.IGNORECASE,
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_REASONING = _words(
    "prove derive solve calculate compute percent probability average total remain remains"
    " remaining left each twice half ratio"
)
_HOW = _words("many much long far old")
_CODE = _words("python function javascript sql regex algorithm")
_JOINING = _words(
    "if then when while because although unless until after before which who whose but and or that"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What the router knows about a task before anything is drawn."""

    chars: int
    """Of the whole prompt; the other counts are of the part that is read."""
    tokens: int
    """Words, numbers, LaTeX commands and signs: about what a model pays for."""
    words: int
    numbers: int
    operators: int
    latex: int
    questions: int
    clauses: int
    """Signs and words that join clauses."""
    reasoning_words: int
    code: bool
    small_talk: bool
    answer_kind: AnswerKind
    verifiers: int
    """How many are attached."""
    decisive: bool
    """One of them can prove an answer."""
    system: int = 0
    """Bucket of the system prompt, 1…`SYSTEM_BUCKETS`; 0 without one."""
    tenant: str = ""
    grams: tuple[int, ...] = ()
    """Places of the runs of one and two words, each once, in the order of the text."""


def read_features(
    prompt: str,
    contract: AnswerContract,
    *,
    verifiers: int,
    decisive: bool,
    system: str = "",
    tenant: str = "",
) -> Features:
    text = _read(prompt)
    tokens = _TOKEN.findall(text.lower())
    words = [token for token in tokens if token[0].isalpha()]
    return Features(
        chars=len(prompt),
        tokens=len(tokens),
        words=len(words),
        numbers=sum(token[0].isdecimal() for token in tokens),
        operators=len(_OPERATOR.findall(text)),
        latex=text.count("$") + sum(token[0] == "\\" and len(token) > 1 for token in tokens),
        questions=text.count("?"),
        clauses=sum(word in _JOINING for word in words) + text.count(",") + text.count(";"),
        reasoning_words=_count_reasoning(words),
        code="```" in text or not _CODE.isdisjoint(words) or "unit test" in text.lower(),
        small_talk=len(prompt) <= 80 and _SMALL_TALK.match(text.strip()) is not None,
        answer_kind=contract.kind,
        verifiers=verifiers,
        decisive=decisive,
        system=1 + crc32(_bytes(system)) % SYSTEM_BUCKETS if system else 0,
        tenant=tenant,
        grams=tuple(place for _, place in _hashed(tokens)),
    )


def read_grams(prompt: str) -> tuple[tuple[str, int], ...]:
    """The runs of words of a prompt with their places, for people who want to see them."""
    return _hashed(_TOKEN.findall(_read(prompt).lower()))


def _read(prompt: str) -> str:
    if len(prompt) <= READ_CHARS:
        return prompt
    half = READ_CHARS // 2
    return f"{prompt[:half]}\n{prompt[-half:]}"


def _hashed(tokens: list[str]) -> tuple[tuple[str, int], ...]:
    """Runs of one and two words and their places, each place once.

    A number counts by its length, or each would be a word of its own. The hash of two words is that
    of the second continued from the first, so both cost one pass.
    """
    mask = 2**GRAM_BITS - 1
    found: dict[int, str] = {}
    before, before_hash = "", 0
    spoken = [token for token in tokens if token[0].isalnum() or len(token) > 1]
    if len(spoken) > MOST_WORDS:
        spoken = [*spoken[: MOST_WORDS // 2], *spoken[-MOST_WORDS // 2 :]]
    for token in spoken:
        word = f"{len(token)}digits" if token[0].isdecimal() else token
        data = _bytes(word + " ")
        own = crc32(data)
        found.setdefault(own & mask, word)
        if before:
            found.setdefault(crc32(data, before_hash) & mask, f"{before} {word}")
        before, before_hash = word, own
    return tuple((text, place) for place, text in found.items())


def _count_reasoning(words: list[str]) -> int:
    asked = sum(a == "how" and b in _HOW for a, b in pairwise(words))
    steps = sum(w == "step" for w in words) // 2
    return asked + steps + sum(word in _REASONING for word in words)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
