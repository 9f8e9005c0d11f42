"""Claims of an answer against notes, by their words: numbers, names and negation.

A claim is a sentence that says something. Its numbers must stand in the notes, next to the same
thing; its names must occur there or in the question; and where a note says nearly the same, both
must be negated or neither. This finds made-up figures, people and reversals. It cannot see a claim
that uses the notes' words to say something else; a judge can be asked about that.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

MAX_CLAIMS = 200
MAX_NOTES_CHARS = 50_000
MAX_TEXT_CHARS = 20_000
CLOSE = 0.6
"""Share of a claim's words that a note must have to speak of the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    text: str
    numbers: tuple[tuple[Fraction, frozenset[str]], ...]
    """Each with the content words right after it, stemmed, at most two."""
    names: tuple[str, ...]
    words: frozenset[str]
    """Content words, stemmed."""
    negated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What is known, sentence by sentence."""

    sentences: tuple[Claim, ...]
    stems: frozenset[str]
    """The content words of all sentences."""
    words: frozenset[str]
    """Every word, of the question too, casefolded and not stemmed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a claim does not stand."""

    claim: str
    reason: str
    """`number`, `name`, `negation` or `unrelated`."""
    missing: str


def read_notes(texts: Sequence[str], question: str = "") -> Notes:
    """Notes made ready. Names of the question may be repeated, its numbers may not."""
    sentences = [claim for text in texts for claim in split_claims(text, everything=True)]
    known = " ".join([*texts, question])
    words = {word.casefold() for word in _WORD.findall(_plain(known))}
    stems = frozenset().union(*(sentence.words for sentence in sentences))
    return Notes(sentences=tuple(sentences), stems=stems, words=frozenset(words))


def split_claims(text: str, *, everything: bool = False) -> list[Claim]:
    """The sentences of a text that claim something; with `everything` all of them."""
    claims = []
    for sentence in _SENTENCE_END.split(_plain(text[:MAX_NOTES_CHARS])):
        bare = _MARKUP.sub("", sentence).strip()
        if not bare or not _WORD.search(bare):
            continue
        claim = _read_claim(bare)
        says = claim.words and not bare.endswith("?") and not _COURTESY.match(bare)
        if everything or says:
            claims.append(claim)
        if len(claims) > MAX_CLAIMS and not everything:
            break
    return claims


def find_fault(claim: Claim, notes: Notes, *, overlap: float) -> Fault | None:
    """The first reason why the notes do not carry a claim, or None."""
    for value, things in claim.numbers:
        if not _has_number(value, things, notes):
            told = " ".join([_spell(value), *sorted(things)])
            return Fault(claim=claim.text, reason="number", missing=told)
    for name in claim.names:
        if not all(part.casefold() in notes.words for part in name.split()):
            return Fault(claim=claim.text, reason="name", missing=name)
    shares = [(_share(claim, note), note) for note in notes.sentences]
    near = max(shares, key=lambda pair: pair[0], default=(0.0, None))
    if near[1] is not None and near[0] >= CLOSE:
        best = [note for share, note in shares if share == near[0]]
        if all(note.negated != claim.negated for note in best):
            return Fault(claim=claim.text, reason="negation", missing=best[0].text[:200])
    if len(claim.words & notes.stems) < overlap * len(claim.words):
        missing = ", ".join(sorted(claim.words - notes.stems)[:8])
        return Fault(claim=claim.text, reason="unrelated", missing=missing)
    return None


def _has_number(value: Fraction, things: frozenset[str], notes: Notes) -> bool:
    """True when a note has the number beside the same thing, or says of what in its sentence."""
    return any(
        not things or (things & its_things if its_things else things & note.words)
        for note in notes.sentences
        for other, its_things in note.numbers
        if other == value
    )


def _share(claim: Claim, note: Claim) -> float:
    return len(claim.words & note.words) / len(claim.words) if claim.words else 0.0


def _read_claim(text: str) -> Claim:
    numbers = []
    for found in _NUMBER.finditer(text):
        value = Fraction(found["digits"].replace(",", ""))
        numbers.append((value, frozenset("%") if found["percent"] else _things(found["things"])))
    for found in _NUMBER_WORD.finditer(text):
        things = _things(found["things"])
        if things:
            numbers.append((Fraction(_NUMBER_WORDS[found["word"].casefold()]), things))
    words = {_stem(word) for word in _WORD.findall(text)}
    return Claim(
        text=text[:300],
        numbers=tuple(numbers),
        names=tuple(_names_of(text)),
        words=frozenset(w for w in words if w not in _STOP and len(w) > 1 and not w.isdecimal()),
        negated=len(_NEGATION.findall(text)) % 2 == 1,
    )


def _things(after: str) -> frozenset[str]:
    """The content words after a number, up to the first that is none."""
    found = []
    for word in map(_stem, (after or "").replace("-", " ").split()):
        if word in _STOP:
            break
        found.append(word)
    return frozenset(found)


def _names_of(text: str) -> list[str]:
    """Capitalised words that do not begin the sentence, and any with a digit or two capitals."""
    names = []
    for position, found in enumerate(_WORD.finditer(text)):
        word = found[0]
        odd = sum(char.isupper() for char in word) > 1 or not (word.isalpha() or word.isdecimal())
        odd = odd and not _JOINED.fullmatch(word)
        begins = position == 0 or text[: found.start()].rstrip().endswith((":", "“", '"'))
        if odd or (word[0].isupper() and not begins and _stem(word) not in _STOP):
            names.append(word.removesuffix("'s").removesuffix("’s"))
    return names


def _stem(word: str) -> str:
    """The word without its commonest endings: enough to match `refunds` with `refund`."""
    word = word.casefold().removesuffix("'s").removesuffix("’s")
    for ending, least in (("ing", 6), ("ies", 5), ("ed", 5), ("es", 5), ("s", 4), ("e", 4)):
        if word.endswith(ending) and len(word) >= least and not word.endswith("ss"):
            word = word.removesuffix(ending) + ("y" if ending == "ies" else "")
            break
    return word.removesuffix("e") if len(word) > 3 else word


def _spell(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else str(float(value))


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", text)
    return "".join(char for char in text if unicodedata.category(char) != "Cf")


def _words(text: str) -> frozenset[str]:
    return frozenset(map(_stem, text.split())) | frozenset(text.split())


_SENTENCE_END = re.compile(r"(?<=[^\W\d_]{2}[.!?])\s+|(?<=[0-9)%\"”'][.!?])\s+|\n+|;\s")
_MARKUP = re.compile(r"[*_`#>|]+|^\s*(?:[-•]|[0-9]{1,2}[.)])\s+|\[[0-9]{1,3}\]")
_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_NUMBER = re.compile(
    r"(?<![\w.,])[$€£]?(?P<digits>[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?)"
    r"(?:(?P<percent> ?%| percent\b)|(?P<things>(?:[ -][^\W\d_]+){0,2}))"
)
_JOINED = re.compile(r"[^\W\d_]?[^\W\d_A-Z]*(?:['’\-][^\W\d_A-Z]+)*|[0-9]+-[^\W\d_A-Z]+")
_NUMBER_WORDS = {
    word: value
    for value, word in enumerate(
        ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"], start=2
    )
}
_NUMBER_WORD = re.compile(
    rf"\b(?P<word>{'|'.join(_NUMBER_WORDS)})(?P<things>(?:[ -][^\W\d_]+){{1,2}})", re.IGNORECASE
)
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|neither|nor|cannot|without|unable|except|excluding|excluded"
    r"|unavailable|ineligible|impossible|forbidden|prohibited|denied|refuses?)\b|n['’]t\b",
    re.IGNORECASE,
)
_COURTESY = re.compile(
    r"(?:(?:hi|hello|hey|dear|thanks|thank you|sorry|sure|certainly|of course|great|please"
    r"|let me know|feel free|i hope|i understand|i can help|i'd be happy|i am happy|i'm happy"
    r"|best regards|regards|sincerely|have a)\b|you're welcome)",
    re.IGNORECASE,
)
_STOP = _words(
    "a an the and or but if then so as at by for from in into of off on onto out over to up with"
    " is are was were be been being am do does did have has had will would can could shall should"
    " may might must not no nor never none it its this that these those there here you your yours"
    " we our us i me my he him his she her they them their who whom which what when where why how"
    " also just only very more most less least such than too any all each every some other another"
    " about after before during per within until between both either yes please"
)
